"""Run roles as processes, restart them whenever they end, and record unexpected ends."""

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
    """A gateway, projector or worker.

    ``unasked`` describes each end that the test did not cause, with the last log lines.
    """

    def __init__(self, kind: str, name: str, environment: dict[str, str], log_file: Path) -> None:
        self.kind = kind
        self.name = name
        self.unasked: list[str] = []
        self._announced = Path(environment["PHOTOLOG_DATA"], METRICS, name)
        self._environment = environment
        self._log_file = log_file
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the role's current process."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        self._ended = False
        self._announced.unlink(missing_ok=True)  # a killed process leaves it behind
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*PHOTOLOG, self.kind, "--name", self.name],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def ready(self) -> None:
        """Wait until the current process works, so that a fault never hits one that is starting."""
        with anyio.fail_after(READY_S):
            while not self._announced.exists():
                await anyio.sleep(LOOK_EVERY_S)

    def end(self, number: signal.Signals) -> str:
        """Kill or stop the process; it is restarted."""
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
        """Start the process, and restart it whenever it ends, until cancelled."""
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
        """End the process for good."""
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log_lines(self) -> list[str]:
        return self._log_file.read_text("utf-8", "replace").splitlines()

    def _note(self, status: int) -> None:
        tail = "\n    ".join(self.log_lines()[-TAIL_LINES:])
        self.unasked.append(f"{self.name} ended by itself with status {status}:\n    {tail}")

    def _signal(self, number: signal.Signals) -> str:
        if self._process is None:
            return f"{self.name} does not run"
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        return f"sent {number.name} to {self.name}"


@asynccontextmanager
async def kept(roles: list[Role]) -> AsyncGenerator[None]:
    """Run the roles while the block runs."""
    try:
        async with anyio.create_task_group() as tasks:
            for role in roles:
                tasks.start_soon(role.keep)
            yield
            tasks.cancel_scope.cancel()
    finally:
        for role in roles:
            role.stop()


def decoders_of(pid: int) -> list[int]:
    """Return the decoder processes of the worker process ``pid``."""
    listed = [tasks.read_text() for tasks in Path(f"/proc/{pid}/task").glob("*/children")]
    return [
        int(child)
        for child in " ".join(listed).split()
        if b"handlers.decoder.child" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
