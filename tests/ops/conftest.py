"""Complete systems, each in its own folder."""

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.ops.systems import System

ONE_DECODER = {"decoders": "1"}
"""Starting a decoder takes as long as starting the rest of its worker."""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] # pytest calls it
    """Hide the settings of the environment from these tests."""
    for name in ("DATA", "PORT", "REDIS_URL", "URL", "TOKEN", "CONFIG", "SECRET"):
        monkeypatch.delenv(f"PHOTOLOG_{name}", raising=False)


@pytest.fixture
def data() -> Generator[Path]:
    """A data folder that does not exist yet. Short: tmp_path can be too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="photolog-") as folder:
        yield Path(folder, "data")


@pytest.fixture
def system(data: Path) -> Generator[System]:
    """A ready system for one test, which may do anything to it."""
    with System(data, settings=ONE_DECODER) as started:
        yield started


@pytest.fixture(scope="session")
def shared_system() -> Generator[System]:
    """A ready system for all tests of this process, which use clients or photos of their own.

    They leave it running as they found it: no stage is stopped, no file is missing.
    """
    yield from started()


@pytest.fixture(scope="module")
def module_system() -> Generator[System]:
    """A ready system for all tests of a file, which leave it running."""
    yield from started()


def started() -> Generator[System]:
    """Run a system in a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="photolog-") as folder,
        System(Path(folder, "data"), settings=ONE_DECODER) as running,
    ):
        yield running
