"""The tests of the store run on both servers."""

from collections.abc import AsyncGenerator

import pytest

from store.client import Client, connect


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Client]:
    client = connect(redis_url)
    yield client
    await client.aclose()
