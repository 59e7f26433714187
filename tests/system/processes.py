"""Roles as processes of their own, restarted whenever they end; who ended them is remembered."""

import os
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

from ops.telemetry.metrics_server import METRICS
from tests.ops.systems import PHOTOLOG

LOOK_EVERY_S = 0.05
RESTART_AFTER_S = 0.3
READY_S = 120.0
STOP_S = 10.0
TAIL_LINES = 12


class Role:
    """One gateway, projector or worker.

    ``unasked`` tells of each time that it ended though nobody had ended it, with its last lines.
    """

    def __init__(self, kind: str, name: str, environment: dict[str, str], said: Path) -> None:
        self.kind = kind
        self.name = name
        self.unasked: list[str] = []
        self._announced = Path(environment["PHOTOLOG_DATA"], METRICS, name)
        self._environment = environment
        self._said = said
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """That of its latest process."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        self._ended = False
        self._announced.unlink(missing_ok=True)  # one that is killed leaves it there
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [*PHOTOLOG, self.kind, "--name", self.name],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    async def ready(self) -> None:
        """Wait until its latest process does its work: one that is only starting is not hit."""
        with anyio.fail_after(READY_S):
            while not self._announced.exists():
                await anyio.sleep(LOOK_EVERY_S)

    def end(self, number: signal.Signals) -> str:
        """Kill or stop it; it is started again."""
        self._ended = True
        return self._signal(number)

    async def freeze(self, seconds: float) -> str:
        did = self._signal(signal.SIGSTOP)
        try:
            await anyio.sleep(seconds)
        finally:
            self._signal(signal.SIGCONT)
        return f"{did} for {seconds:.1f} s"

    async def keep(self) -> None:
        """Start it, and start it again whenever it has ended, until cancelled."""
        self.start()
        while True:
            await anyio.sleep(LOOK_EVERY_S)
            status = self._process.poll() if self._process else None
            if status is None:
                continue
            if not self._ended:
                self._note(status)
            await anyio.sleep(RESTART_AFTER_S)
            self.start()

    def stop(self) -> None:
        """End it for good."""
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def said(self) -> list[str]:
        return self._said.read_text("utf-8", "replace").splitlines()

    def _note(self, status: int) -> None:
        tail = "\n    ".join(self.said()[-TAIL_LINES:])
        self.unasked.append(f"{self.name} ended by itself with status {status}:\n    {tail}")

    def _signal(self, number: signal.Signals) -> str:
        if self._process is None:
            return f"{self.name} does not run"
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        return f"sent {number.name} to {self.name}"


@asynccontextmanager
async def kept(roles: list[Role]) -> AsyncGenerator[None]:
    """The roles run in the block, and not after it."""
    try:
        async with anyio.create_task_group() as tasks:
            for role in roles:
                tasks.start_soon(role.keep)
            yield
            tasks.cancel_scope.cancel()
    finally:
        for role in roles:
            role.stop()
