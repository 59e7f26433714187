"""Run ``photolog up`` in its own processes, and watch them from outside."""

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from click.testing import CliRunner, Result
from PIL import Image

from handlers.parent_death import bound_to_parent
from ops.cli.main import main
from ops.config.settings import Settings
from ops.process.embedded_valkey import Valkey
from ops.process.lock import locked
from ops.runtime.tokens import LOCAL_CLIENT, mint

DEADLINE_S = 30.0
TOKEN_S = 24 * 3600.0

PHOTOLOG = [sys.executable, "-P", "-m", "ops.cli.main"]


def wait_until(condition: Callable[[], object], what: str, patience_s: float = DEADLINE_S) -> None:
    """Poll the condition until it holds; fail after a deadline."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s:g} s: {what}")
        time.sleep(0.02)


def run(*arguments: str, said: str | None = None, **environment: str) -> Result:
    """Run a command of ``photolog`` in this process; ``said`` is its standard input."""
    return CliRunner(env=environment).invoke(main, arguments, input=said, catch_exceptions=False)


def photolog(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a process of its own to its end."""
    return subprocess.run(
        [*PHOTOLOG, *arguments], capture_output=True, text=True, timeout=DEADLINE_S
    )


def jpeg(size: tuple[int, int] = (320, 240)) -> bytes:
    """Return a picture whose bytes differ from all others."""
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, "JPEG", comment=uuid.uuid4().bytes)
    return buffer.getvalue()


class DataFolder:
    """A data folder for commands."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def photolog(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on the data folder, in this process, which saves a second of imports."""
        words = (command, "--data", str(self.data), *arguments)
        done = run(*words)
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


@contextmanager
def serving_log(data: Path) -> Generator[DataFolder]:
    """Serve the log of a data folder and hold its lock, as a system whose roles have all ended."""
    valkey = Valkey(data / "valkey")
    with locked(data):
        process = subprocess.Popen(bound_to_parent(valkey.prepare()))
        try:
            wait_until(lambda: asyncio.run(valkey.state()) == "ready", "the log is served")
            yield DataFolder(data)
        finally:
            process.kill()
            process.wait()
            valkey.clean()


class System(DataFolder):
    """A system that is ready when the block begins and has ended when the block ends.

    Its output is kept in the folder ``notes``, by default beside its data. ``under`` is the command
    line of a program that runs it. ``settings`` maps the names of settings to their values, and is
    added to those of the environment.
    """

    def __init__(
        self,
        data: Path,
        *options: str,
        under: Sequence[str] = (),
        notes: Path | None = None,
        patience_s: float = DEADLINE_S,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data)
        self._notes = notes or data.parent
        self.log = self._notes / "up.log"
        self._under = under
        self._patience_s = patience_s
        self._options = options
        given = settings or {}
        self._settings = {f"PHOTOLOG_{name.upper()}": value for name, value in given.items()}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            print(self.log.read_text())
            self.process.kill()
            self.process.wait()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.log.read_text())
        self.process.kill()
        self.process.wait()
        wait_until(lambda: not self.alive(), "the processes of the system end")

    def start(self) -> None:
        said = self._notes / "up.out"
        with self.log.open("a") as log, said.open("w") as out:
            self.process = subprocess.Popen(
                [
                    *(*self._under, *PHOTOLOG, "up", "--port", "0"),
                    *("--data", str(self.data), *self._options),
                ],
                stdout=out,
                stderr=log,
                env=os.environ | self._settings,
            )
        self._pids = {self.process.pid}
        wait_until(
            lambda: "Stop" in said.read_text() or self.process.poll() is not None,
            *("ready", self._patience_s),
        )
        self.welcome = said.read_text()
        found = re.search(r"Open +(http://\S+)\n", self.welcome)
        assert found is not None, f"it did not start: {self.welcome} {self.log.read_text()}"
        self.url = found[1]
        self.alive()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal to the supervisor and wait until it ends; return the exit status."""
        self.alive()
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def pid_of(self, role: str) -> int | None:
        """Return the process that the supervisor runs as ``role``."""
        for pid, parent, words in _processes():
            if parent == self.process.pid and _is(role, words):
                self._pids.add(pid)
                return pid
        return None

    def alive(self) -> set[int]:
        """Return the running processes of the system, including those that earlier calls saw."""
        listed = _processes()
        grown = True
        while grown:
            new = {pid for pid, parent, _ in listed if parent in self._pids} - self._pids
            self._pids |= new
            grown = bool(new)
        return self._pids & {pid for pid, _, _ in listed}

    def login(self) -> dict[str, str]:
        """Return the header of the client that the command line acts as."""
        token = mint(Settings(data=str(self.data)), LOCAL_CLIENT, "client", TOKEN_S)
        return {"Authorization": f"Bearer {token}"}


def _is(role: str, words: list[str]) -> bool:
    if role == "valkey":
        return words[0].endswith("valkey-server")
    return "--name" in words and words[words.index("--name") + 1] == role


def _processes() -> list[tuple[int, int, list[str]]]:
    """Return ``(pid, parent, command line)`` of all running processes, without zombies."""
    found: list[tuple[int, int, list[str]]] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if state != "Z":
            found.append((int(entry.name), int(parent), words))
    return found
