"""The tests of the store run on both servers of the log, and on both stores of blobs."""

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
    """Both stores of blobs in turn."""
    if request.param == "folder":
        yield FolderKeeper(tmp_path / "blobs")
        return
    keeper = MinioKeeper(request.getfixturevalue("bucket"), tmp_path / "copies")
    yield keeper
    keeper.close()
