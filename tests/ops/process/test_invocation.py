import sys
from pathlib import Path

import pytest

from ops.process.invocation import UV_RUN, program


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that alone is searched for programs, and has none."""
    monkeypatch.delenv(UV_RUN, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_what_uv_runs_is_run_by_uv_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UV_RUN, "1")

    assert program() == "uv run --no-dev photolog"


def test_what_the_shell_finds_needs_its_name_alone(nowhere: Path) -> None:
    (nowhere / "photolog").touch(0o755)

    assert program() == "photolog"


def test_what_was_started_by_its_path_is_started_by_it_again(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["my env/bin/photolog", "up"])

    assert program() == "'my env/bin/photolog'"


def test_what_was_started_as_a_module_is_started_so_again(nowhere: Path) -> None:
    assert program() == f"{sys.executable} -m ops.cli.main"
