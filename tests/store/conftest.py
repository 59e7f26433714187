"""The tests of the store run on both servers."""

from collections.abc import AsyncGenerator

import pytest
from redis.asyncio import Redis

from store.client import connect


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()
