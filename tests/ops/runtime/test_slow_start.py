"""What a slow start logs."""

import logging
from collections.abc import Generator

import pytest

from ops.config.settings import Settings
from ops.runtime.slow_start import SlowStart
from ops.telemetry import logs


@pytest.fixture(autouse=True)
def configured() -> Generator[None]:
    """Restore the logging of this process after the test."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before


def configure() -> None:
    """Log as `up` does by default, to what ``capsys`` captures."""
    logs.configure(Settings(), "up")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]


def test_a_start_is_calm_at_first_and_warns_if_it_takes_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure()

    SlowStart(0.0).waits("the log to load: 35%")
    SlowStart(0.0, long_s=0.0).waits("the log to load: 36%")

    assert lines(capsys) == [
        "up         INFO    waiting for the log to load: 35%",
        "up         WARNING waiting for the log to load: 36%",
    ]


def test_a_line_is_due_only_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    slow = SlowStart(3_600.0)

    slow.waits("the gateway to be ready")

    assert lines(capsys) == []
