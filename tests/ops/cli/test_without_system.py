"""Commands that need a running system say what to start if none runs."""

from pathlib import Path

import pytest

from tests.ops.systems import run


@pytest.mark.parametrize(
    "command", [("reconcile",), ("projections", "verify"), ("projections", "rebuild"), ("verify",)]
)
def test_without_a_system_a_command_names_what_to_start(
    data: Path, command: tuple[str, ...]
) -> None:
    (data / "blobs").mkdir(parents=True)

    shown = run("--data", str(data), *command)

    assert shown.exit_code == 1
    assert shown.stderr.startswith(
        f"Error: No Photolog runs on {data}: start it with `photolog up`, "
    )
    assert "connecting" not in shown.stderr


def test_without_a_read_model_the_list_names_what_makes_one(data: Path) -> None:
    shown = run("--data", str(data), "projections", "list")

    assert shown.exit_code == 1
    assert "start `photolog up`, or `photolog projector`" in shown.stderr
