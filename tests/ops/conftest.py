"""Complete systems, each in its own folder."""

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ops.cli.main import main
from tests.ops.systems import System


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
    with System(data) as started:
        yield started


@pytest.fixture(scope="module")
def shared_system() -> Generator[System]:
    """A ready system for all tests of a file, which leave it running."""
    with (
        tempfile.TemporaryDirectory(prefix="photolog-") as folder,
        System(Path(folder, "data")) as started,
    ):
        yield started


def run(*arguments: str, said: str | None = None, **environment: str) -> Result:
    """Run a command of ``photolog`` in this process; ``said`` is its standard input."""
    return CliRunner(env=environment).invoke(main, arguments, input=said)
