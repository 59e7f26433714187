"""Photolog on one machine: every role a process of its own, under one supervisor.

Each process is started again when it ends, later each time. They are stopped in the order in which
work flows: gateway, workers, projector, Valkey. None outlives the supervisor (see
``ops.process.parent_death``). The supervisor itself listens, and hands the socket to the gateway:
while a gateway is started again, callers wait in the socket's queue and are not refused.

| path in the data folder | what |
|---|---|
| ``lock`` | held by the supervisor and its processes; inside, the supervisor's process id |
| ``url`` | where the gateway answers, while it does |
| ``secret`` | signs the tokens |
| ``metrics/`` | where each role has its metrics, see ``ops.telemetry.metrics_server`` |
| ``valkey/`` ``blobs/`` ``read-model/`` | the log, the pictures, what is folded from the log |
| ``copies/`` | local copies of pictures from S3, see ``store.blobs.local_copies`` |

What an answer rests on is durable before it: the secret, the log, originals and renditions, with
the names of their folders. All else may be missing, empty or torn after a power cut: ``lock``,
``url``, ``metrics/``, the server's configuration, its log and ``socket``, and ``copies/`` are
written again at each start, and the read model is folded from the log.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from ops import memory
from ops.config.loading import environment_of
from ops.config.settings import PREFIX, Settings
from ops.config.validation import check_system
from ops.errors import UserError
from ops.memory import log_bytes
from ops.process.embedded_valkey import Valkey
from ops.process.lock import POLL_S, StartFailed, base_url, listen, locked, machine, reachable
from ops.process.supervised_process import Part
from ops.runtime import startup_check
from ops.telemetry import gauges
from ops.telemetry.metrics import Metrics
from ops.telemetry.metrics_server import forget, metrics_served
from store.background import Background
from store.blobs.disk import make_folder

logger = logging.getLogger("photolog.supervisor")

DEATHS_AT_START = 5
"""A system of which one process ended this often before it was ever ready is given up."""

LITTLE_ROOM_BYTES = 1 << 20
"""With less on the disk of the data folder, that is why a process ends."""

REMIND_S = 10.0
LOADING_S = 2.0
"""How often a start that takes long says how far it is."""

GRACE_S = 2.0
"""What a role gets beyond its own time to drain before it is killed."""

PROJECTOR_DRAIN_S = 5.0
VALKEY_DRAIN_S = 10.0


def up(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run one system over one data folder until SIGTERM or SIGINT; a second one kills at once.

    ``announce`` gets the base URL as soon as all is ready, in another thread.

    Raises:
        StartFailed: nothing of the system runs any more.
        UserError: a setting is wrong; nothing was started.
    """
    check_system(settings)
    with locked(settings.folder) as lock, listen(settings.host, settings.port) as listener:
        asyncio.run(_System(settings, lock, listener, announce).run())


class _System:
    def __init__(
        self,
        settings: Settings,
        lock: int,
        listener: socket.socket,
        announce: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._listener = listener
        self._announce = announce
        self._url_file = settings.folder / "url"
        self._metrics = Metrics("up")
        self._background = Background(self._count_failure)
        self._parts: list[Part] = []
        self._valkey: Valkey | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
                loop.add_signal_handler(number, self._asked_to_stop)
        forget(self._settings.folder)
        self._url_file.unlink(missing_ok=True)  # of one that was killed
        port = self._settings.metrics_port
        try:
            async with metrics_served(
                lambda: self._metrics.exposition(gauges.of_system(self._parts)),
                *(self._settings.folder, "up", self._settings.metrics_host, port),
                background=self._background,
            ):
                await _until(self._stop, self._start())
                await _until(self._stop, self._background.over())
        finally:
            self._url_file.unlink(missing_ok=True)
            self._listener.close()
            await _until(self._hurry, self._drain())
            await asyncio.gather(*(part.kill() for part in self._parts))
            if self._valkey is not None:
                self._valkey.clean()
        if self._background.gave_up is not None:
            raise self._background.gave_up

    def _count_failure(self, task: str) -> None:
        self._metrics.count("photolog_background_failures_total", task)

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _start(self) -> None:
        settings = self._settings
        self._make_folders()
        if settings.redis_url is None:
            url = await self._start_valkey()
            settings = msgspec.structs.replace(settings, redis_url=url)
        await startup_check.ask(settings, _environment())
        self._start_role("projector", _with_port(settings, 1), lambda: ["projector"])
        each = _sharing_memory(settings)
        for slot in range(1, settings.workers + 1):
            self._start_role(f"worker-{slot}", _with_port(each, slot + 1), _worker(settings, slot))
        fd = self._listener.fileno()
        self._start_role("gateway", settings, lambda: ["gateway", "--fd", str(fd)], fd)
        url = base_url(self._listener)
        say_at = time.monotonic() + REMIND_S
        while (answer := await _readiness(*reachable(self._listener))) != "200":
            self._give_up_on_deaths()
            if time.monotonic() > say_at:
                logger.warning("still not ready: the gateway answers %s", answer or "nothing")
                say_at = time.monotonic() + REMIND_S
            await asyncio.sleep(POLL_S)
        self._write_url(url)
        # In a thread of its own: it may talk to the gateway.
        await asyncio.to_thread(self._announce, url)

    def _write_url(self, url: str) -> None:
        draft = self._url_file.with_name(".url")
        try:
            draft.write_text(url, "utf-8")
            draft.replace(self._url_file)
        except OSError as error:  # a full disk keeps nobody from deleting photos
            logger.warning("the URL is not in %s: %s", self._url_file, error.strerror)

    def _make_folders(self) -> None:
        in_folder = self._settings.s3_endpoint is None
        blobs = (self._settings.blobs_folder,) if in_folder else ()
        for folder in (*blobs, self._settings.read_model_folder):
            try:
                make_folder(folder)
            except OSError as error:
                raise StartFailed(
                    f"PHOTOLOG_DATA: the folder {folder} cannot be used: {error.strerror}"
                ) from error

    async def _start_valkey(self) -> str:
        """Start the bundled server, and wait until it has loaded the log; its URL."""
        self._valkey = valkey = Valkey(
            self._settings.folder / "valkey", log_bytes(self._settings.redis_memory_bytes)
        )
        try:
            command = valkey.prepare()
        except OSError as error:
            raise StartFailed(
                f"the Valkey server cannot be started in {valkey.folder}: {error.strerror or error}"
            ) from error
        except UserError as error:
            raise StartFailed(str(error)) from error
        self._parts.append(
            Part(
                "valkey",
                lambda: command,
                environment=_environment(),
                fds=(self._lock,),
                background=self._background,
                last_words=valkey.last_words,
            )
        )
        say_at = time.monotonic() + LOADING_S
        while (state := await valkey.state()) != "ready":
            self._give_up_on_deaths()
            if isinstance(state, float) and time.monotonic() > say_at:
                logger.warning("the log is being loaded: %.0f %%", state * 100)
                say_at = time.monotonic() + LOADING_S
            await asyncio.sleep(POLL_S)
        if valkey.cut():
            logger.warning(
                "the log ended with a record that was not whole, as after a power cut, and was "
                "cut: nothing that was answered was in it"
            )
        return valkey.url

    def _start_role(
        self, name: str, settings: Settings, arguments: Callable[[], list[str]], *fds: int
    ) -> None:
        # -P: the working directory may hold a folder named like one of our packages.
        python = [sys.executable, "-P", "-m", "ops.cli.main"]
        self._parts.append(
            Part(
                name,
                lambda: [*python, *arguments(), "--name", name, "--quiet"],
                environment=_environment() | environment_of(settings),
                fds=(self._lock, *fds),
                background=self._background,
            )
        )

    def _give_up_on_deaths(self) -> None:
        if self._background.gave_up is not None:
            raise self._background.gave_up
        for part in self._parts:
            if part.deaths >= DEATHS_AT_START:
                folder = self._settings.folder
                room = shutil.disk_usage(folder).free >= LITTLE_ROOM_BYTES
                hint = "" if room else f": the disk of {folder} is full, so make room first"
                raise StartFailed(f"{part.name} ended {part.deaths} times, see above{hint}")

    async def _drain(self) -> None:
        """Stop the roles one after the other, so that each can hand on what it has."""
        for role, patience_s in (
            ("gateway", self._settings.drain_s + GRACE_S),
            ("worker", self._settings.worker_drain_s + GRACE_S),
            ("projector", PROJECTOR_DRAIN_S),
            ("valkey", VALKEY_DRAIN_S),
        ):
            parts = [part for part in self._parts if part.name.partition("-")[0] == role]
            await asyncio.gather(*(part.stop(patience_s) for part in parts))


def _worker(settings: Settings, slot: int) -> Callable[[], list[str]]:
    on = machine(settings.folder)

    def arguments() -> list[str]:
        consumer = f"{on}:{slot}:{uuid.uuid4().hex[:8]}"
        # Whoever worked in this slot before has ended: we hold the lock and saw it go.
        return ["worker", "--consumer", consumer, "--dead", f"{on}:{slot}:"]

    return arguments


def _sharing_memory(settings: Settings) -> Settings:
    """The settings of each worker: all of them work on this machine."""
    each = settings.worker_memory_bytes or memory.share(max(1, settings.workers))
    return msgspec.structs.replace(settings, worker_memory_bytes=each)


def _with_port(settings: Settings, offset: int) -> Settings:
    """The settings of the role whose metrics have the port so far after that of ``up``."""
    port = settings.metrics_port and settings.metrics_port + offset
    return msgspec.structs.replace(settings, metrics_port=port)


def _environment() -> dict[str, str]:
    """Ours without its settings, which are handed on whole."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


async def _readiness(host: str, port: int) -> str:
    """The status that a gateway answers there, 200 when it is ready; nothing if none answers."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET /health/ready HTTP/1.1\r\nHost: photolog\r\n\r\n")
                return b" ".join((await reader.readline()).split()[1:2]).decode("ascii", "replace")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return ""


async def _until(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, but break it off when ``event`` is set."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
