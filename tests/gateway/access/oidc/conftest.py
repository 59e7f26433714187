"""A provider that answers whatever a test wants."""

from collections.abc import AsyncGenerator

import pytest

from tests.gateway.openid.forger import (
    Forger,
    forging,
)


@pytest.fixture
async def forger() -> AsyncGenerator[Forger]:
    async with forging() as running:
        yield running
