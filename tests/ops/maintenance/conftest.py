"""The files of one system, in folders."""

from pathlib import Path

import pytest

from store.blobs.folder import FolderBlobs
from store.sqlite.generations import Generations


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(tmp_path / "read-model")
