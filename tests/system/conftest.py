"""What the tests of whole systems, and of their checker, share."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from store.log import Log
from tests.system.book import Book


@pytest.fixture
async def book(redis: Redis, prefix: str, tmp_path: Path) -> Book:
    """An empty log of one partition, to be written by hand."""
    await Log.open(redis, prefix=prefix)
    return Book(redis, prefix, tmp_path)
