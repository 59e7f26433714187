"""Runs the store's tests on both log servers and on both blob stores."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from store.redis.connection import Client, connect
from tests.conftest import bucket_of
from tests.s3_servers import S3_SERVERS, S3Server
from tests.store.blob_stores import FolderKeeper, Keeper, S3Keeper


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Client]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture(params=["folder", *S3_SERVERS])
def keeper(request: pytest.FixtureRequest, prefix: str, tmp_path: Path) -> Generator[Keeper]:
    """Each blob store in turn."""
    if request.param == "folder":
        yield FolderKeeper(tmp_path / "blobs")
        return
    server: S3Server = request.getfixturevalue(request.param)
    keeper = S3Keeper(bucket_of(server.url, prefix), tmp_path / "copies")
    yield keeper
    keeper.close()
