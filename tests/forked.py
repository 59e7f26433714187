"""Run commands of ``photolog`` in forked processes, and kill one at a chosen step.

A step is what others could see of a command: a change of a file or a folder, a sync, a write, a
statement of SQLite, a message to Redis. It can be killed right before a step and right after it, so
a number names each point at which a kill makes a difference. ``PHOTOLOG_TEST_KILLS`` is how often
tests kill.

The processes are forked from one that has imported everything: importing takes most of a command's
CPU time.
"""

import importlib
import io
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import apsw
import msgspec

from ops.cli.main import main

FILES = frozenset(
    [
        "fsync",
        "ftruncate",
        "link",
        "mkdir",
        "open",
        "remove",
        "rename",
        "replace",
        "rmdir",
        "symlink",
        "truncate",
        "unlink",
    ]
)
"""Functions of ``os`` that are steps; ``open`` may create a file."""


def kills(default: int) -> int:
    """Return how often a test is to kill."""
    return int(os.environ.get("PHOTOLOG_TEST_KILLS", default))


def seeded() -> random.Random:
    """Return the choices of a test, whose seed is printed; ``PHOTOLOG_TEST_SEED`` repeats them."""
    seed = int(os.environ.get("PHOTOLOG_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}")
    return random.Random(seed)


def chosen(steps: int, count: int) -> list[int]:
    """Return ``count`` points to kill at, at random, or all if there are no more."""
    return sorted(seeded().sample(range(1, steps + 1), min(count, steps)))


class _Run(msgspec.Struct):
    words: list[str]
    environment: dict[str, str]
    output: str
    steps: str
    at: int


class Ended(msgspec.Struct, frozen=True):
    """``status`` is negative after a signal; ``steps`` are those that were made, each twice."""

    status: int
    output: str
    steps: list[str]

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL


class Commands:
    """Runs commands until the block ends."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="photolog-")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()
        self._folder.cleanup()

    def run(self, *words: str, at: int = 0, environment: Mapping[str, str] | None = None) -> Ended:
        """Run the command, and kill it at the given point, which is counted from 1; 0 is never."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        output, steps = Path(self._folder.name, "output"), Path(self._folder.name, "steps")
        steps.write_bytes(b"")
        run = _Run([*words], dict(environment or {}), str(output), str(steps), at)
        stdin.write(msgspec.json.encode(run) + b"\n")
        stdin.flush()
        status = int(stdout.readline())
        return Ended(status, output.read_text("utf-8"), steps.read_text("utf-8").split())


class _Steps:
    """Counts the steps of this process, and kills it at the given one."""

    def __init__(self, at: int, noted: Path) -> None:
        self._at = at
        self._made = 0
        self._noted = os.open(noted, os.O_WRONLY | os.O_APPEND)

    def watch(self) -> None:
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def _see(self, _: FrameType, event: str, function: Any) -> None:
        if event not in ("c_call", "c_return") or not _is_step(function):
            return
        self._made += 1
        os.write(self._noted, f"{function.__name__}\n".encode())
        if self._made == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def _is_step(function: Any) -> bool:
    name, of = function.__name__, getattr(function, "__self__", None)
    if getattr(of, "__name__", None) == "posix":
        return name in FILES
    if isinstance(of, apsw.Connection):
        return name in ("execute", "executemany")
    if isinstance(of, socket.socket):
        return name == "send"
    return isinstance(of, io.FileIO | io.BufferedWriter) and name == "write"


def _child(run: _Run) -> None:
    for name in ("PHOTOLOG_TEST_KILLS", "PHOTOLOG_TEST_SEED"):
        os.environ.pop(name, None)  # they are no settings
    os.environ.update(run.environment)
    tempfile.tempdir = None
    output = os.open(run.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for each in (1, 2):
        os.dup2(output, each)
    status = 1
    try:
        _Steps(run.at, Path(run.steps)).watch()
        main(run.words)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.setprofile(None)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve() -> None:
    for module in ("log", "projections", "verify"):  # otherwise imported when they are run
        importlib.import_module(f"ops.cli.{module}")

    for line in sys.stdin.buffer:
        run = msgspec.json.decode(line, type=_Run)
        pid = os.fork()
        if pid == 0:
            _child(run)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve()
