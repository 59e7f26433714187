"""An interpreter for decoders that can be switched off, by the reason that health names for it."""

import os
import shutil
import sys
from pathlib import Path

import pytest

WAYS = {
    "ends-at-start": "exit 3",
    "no-memory": "kill -9 $$",  # as the kernel does
    "not-executable": None,
}
"""What the interpreter does while it is off, by reason; None if it is no executable then."""

SWITCHING = shutil.which("setpriv") is not None and os.geteuid() == 0


class Interpreter:
    """A script in place of Python, on at first. While it is off, each start runs ``off``."""

    def __init__(self, path: Path, off: str | None) -> None:
        self.path = path
        self._off = path.with_name("off")
        self._makes_executable = off is None
        self._write(off or ":")

    def _write(self, off: str) -> None:
        self.path.write_text(
            f'#!/bin/sh\nif test -e "{self._off}"; then {off}; fi\nexec {sys.executable} "$@"\n'
        )
        self.path.chmod(0o700)

    def switch_off(self) -> None:
        if self._makes_executable:
            self.path.chmod(0o600)
        self._off.touch()

    def switch_on(self) -> None:
        self.path.chmod(0o700)
        self._off.unlink()


def installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, off: str | None = "exit 3"
) -> Interpreter:
    """Let decoders run this interpreter instead of that of the tests."""
    interpreter = Interpreter(folder / "python", off)
    monkeypatch.setattr(sys, "executable", str(interpreter.path))
    return interpreter
