"""Runs the store's tests on both log servers and on both blob stores."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from store.redis.connection import Client, connect
from tests.store.blob_stores import FolderKeeper, Keeper, MinioKeeper


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Client]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture(params=["folder", "minio"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Keeper]:
    """Each blob store in turn."""
    if request.param == "folder":
        yield FolderKeeper(tmp_path / "blobs")
        return
    keeper = MinioKeeper(request.getfixturevalue("bucket"), tmp_path / "copies")
    yield keeper
    keeper.close()
