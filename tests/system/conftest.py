"""Fixtures for tests of whole systems and of the checker."""

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from store.log.log import Log
from store.redis.connection import Client
from tests.system.clusters import Cluster, Clusters
from tests.system.ledger import Ledger


@pytest.fixture
async def ledger(redis: Client, prefix: str, tmp_path: Path) -> Ledger:
    """An empty log of one partition, for a test to write by hand."""
    await Log.open(redis, prefix=prefix)
    return Ledger(redis, prefix, tmp_path)


@pytest.fixture
def data() -> Generator[Path]:
    """A data folder that does not exist yet; tmp_path can be too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="photolog-") as folder:
        yield Path(folder, "data")


@pytest.fixture(scope="session")
def clusters() -> Generator[Clusters]:
    with Clusters() as clusters:
        yield clusters


@pytest.fixture
def servers(clusters: Clusters) -> Generator[Cluster]:
    """A cluster of the bundled server, for one test."""
    with clusters.one() as formed:
        yield formed


@pytest.fixture
def one_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each worker process start a single decoder, for tests that process one photo."""
    monkeypatch.setenv("PHOTOLOG_DECODERS", "1")
