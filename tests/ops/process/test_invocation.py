import sys
from pathlib import Path

import pytest

from ops.process.invocation import UV_RUN, program


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder that is the only one searched for programs."""
    monkeypatch.delenv(UV_RUN, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_under_uv_a_command_is_run_by_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UV_RUN, "1")

    assert program() == "uv run --no-dev photolog"


def test_an_installed_program_is_called_by_its_name(nowhere: Path) -> None:
    (nowhere / "photolog").touch(0o755)

    assert program() == "photolog"


def test_a_program_started_by_its_path_is_called_by_its_path(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["my env/bin/photolog", "up"])

    assert program() == "'my env/bin/photolog'"


def test_a_module_is_called_as_a_module(nowhere: Path) -> None:
    assert program() == f"{sys.executable} -m ops.cli.main"
