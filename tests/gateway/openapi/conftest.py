"""The gateway's documents."""

from typing import Any

import pytest

from tests.gateway.conftest import Gateway


@pytest.fixture
async def document(gateway: Gateway) -> dict[str, Any]:
    """The OpenAPI document as someone without a token gets it."""
    answer = await gateway.client.get("/schema/openapi.json", headers={"Authorization": ""})
    return answer.json()
