import pytest

from gateway.http.limits import Limits
from tests.gateway.health.checking import EASY


@pytest.fixture
def limits() -> Limits:
    return EASY
