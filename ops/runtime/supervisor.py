"""Run Photolog on one machine: each role in a process of its own, under one supervisor.

The supervisor restarts each process that ends, with back-off. It stops them in the order in which
work flows: gateway, workers, webhooks, archiver, projector, Valkey. None outlives the supervisor
(see ``handlers.parent_death``). The supervisor itself listens, and passes the socket to the
gateway: while a gateway restarts, callers wait in the socket's queue and are not refused.

| path in the data folder | content |
|---|---|
| ``lock`` | the supervisor's process id; the supervisor and its processes hold the lock |
| ``url`` | the URL of the gateway, while it runs |
| ``secret`` | the keys that sign tokens |
| ``webhook-key`` | the key of the secrets of webhooks |
| ``metrics/`` | the URL of each role's metrics, see ``ops.telemetry.metrics_server`` |
| ``valkey/`` ``blobs/`` ``read-model/`` | the log, the files of photos, the read model |
| ``copies/`` | local copies of files from S3, see ``store.blobs.local_copies`` |

Before an answer is sent, all that it depends on is durable: the secret, the log, originals and
renditions, and the names of their folders. Everything else may be missing, empty or torn after a
power cut: each start rewrites ``lock``, ``url``, ``metrics/``, ``copies/`` and the server's
configuration, log and ``socket``, and the read model is folded from the log.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Coroutine, Mapping
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
from ops.process.supervised_process import SupervisedProcess
from ops.runtime import startup_check
from ops.runtime.slow_start import SlowStart
from ops.telemetry import gauges
from ops.telemetry.metrics import Metrics
from ops.telemetry.metrics_server import forget, metrics_served
from store.background import Background
from store.blobs.disk import make_folder

logger = logging.getLogger("photolog.supervisor")

EXITS_AT_START = 5
"""The start fails if one process exits this often before the system is ready."""

FULL_DISK_BYTES = 1 << 20
"""With less space on the disk of the data folder, the full disk is why a process exits."""

REMIND_S = 10.0
LOADING_S = 2.0
"""How often a slow start logs its progress."""

GRACE_S = 2.0
"""How long a role may run beyond its own drain time before it is killed."""

ARCHIVER_DRAIN_S = 5.0
PROJECTOR_DRAIN_S = 5.0
VALKEY_DRAIN_S = 10.0


def up(
    settings: Settings, announce: Callable[[str], None], sources: Mapping[str, str] | None = None
) -> None:
    """Run one system over one data folder until SIGTERM or SIGINT; a second signal kills it.

    ``announce`` is called with the base URL, in another thread, as soon as the system is ready.

    Raises:
        StartFailed: the system could not start; all of its processes have ended.
        UserError: a setting is wrong; no process was started.
    """
    check_system(settings)
    with locked(settings.folder) as lock, listen(settings.host, settings.port) as listener:
        asyncio.run(_System(settings, lock, listener, announce, sources).run())


class _System:
    def __init__(
        self,
        settings: Settings,
        lock: int,
        listener: socket.socket,
        announce: Callable[[str], None],
        sources: Mapping[str, str] | None,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._lock = lock
        self._listener = listener
        self._announce = announce
        self._url_file = settings.folder / "url"
        self._metrics = Metrics("up")
        self._background = Background(self._count_failure)
        self._processes: list[SupervisedProcess] = []
        self._valkey: Valkey | None = None
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
                loop.add_signal_handler(number, self._on_signal)
        forget(self._settings.folder)
        self._url_file.unlink(missing_ok=True)  # left by a system that was killed
        port = self._settings.metrics_port
        try:
            async with metrics_served(
                lambda: self._metrics.exposition(gauges.of_system(self._processes)),
                *(self._settings.folder, "up", self._settings.metrics_host, port),
                background=self._background,
            ):
                await _until(self._stop, self._start())
                await _until(self._stop, self._background.over())
        finally:
            self._url_file.unlink(missing_ok=True)
            self._listener.close()
            await _until(self._kill, self._drain())
            await asyncio.gather(*(process.kill() for process in self._processes))
            if self._valkey is not None:
                self._valkey.clean()
        if self._background.gave_up is not None:
            raise self._background.gave_up

    def _count_failure(self, task: str) -> None:
        self._metrics.count("photolog_background_failures_total", task)

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._kill.set()
        self._stop.set()

    async def _start(self) -> None:
        settings = self._settings
        self._make_folders()
        if settings.redis_url is None:
            url = await self._start_valkey()
            settings = msgspec.structs.replace(settings, redis_url=url)
            self._sources = {**(self._sources or {}), "redis_url": "the embedded Valkey"}
        await startup_check.check(settings, _environment())
        self._start_role("projector", _with_port(settings, 1), lambda: ["projector"])
        shared = _sharing_memory(settings)
        for slot in range(1, settings.workers + 1):
            self._start_role(
                f"worker-{slot}", _with_port(shared, slot + 1), _worker(settings, slot)
            )
        after_workers = settings.workers + 2
        self._start_role("archiver", _with_port(settings, after_workers), lambda: ["archiver"])
        self._start_role(
            "webhooks", _with_port(settings, after_workers + 1), lambda: ["webhooks", "deliver"]
        )
        fd = self._listener.fileno()
        self._start_role("gateway", settings, lambda: ["gateway", "--fd", str(fd)], fd)
        url = base_url(self._listener)
        slow = SlowStart(REMIND_S)
        while (status := await _readiness(*reachable(self._listener))) != "200":
            self._check_exits()
            answer = f"it answers {status}" if status else "it does not answer yet"
            slow.waits(f"the gateway to be ready: {answer}")
            await asyncio.sleep(POLL_S)
        self._write_url(url)
        # In another thread: it may send requests to the gateway.
        await asyncio.to_thread(self._announce, url)

    def _write_url(self, url: str) -> None:
        draft = self._url_file.with_name(".url")
        try:
            draft.write_text(url, "utf-8")
            draft.replace(self._url_file)
        except OSError as error:  # on a full disk, users must still be able to delete photos
            logger.warning("cannot write the URL to %s: %s", self._url_file, error.strerror)

    def _make_folders(self) -> None:
        in_folder = self._settings.s3_endpoint is None
        blobs = (self._settings.blobs_folder,) if in_folder else ()
        for folder in (*blobs, self._settings.read_model_folder):
            try:
                make_folder(folder)
            except OSError as error:
                raise StartFailed(
                    f"PHOTOLOG_DATA: cannot use the folder {folder}: {error.strerror}"
                ) from error

    async def _start_valkey(self) -> str:
        """Start the bundled server, wait until it has loaded the log, and return its URL."""
        self._valkey = valkey = Valkey(
            self._settings.folder / "valkey", log_bytes(self._settings.redis_memory_bytes)
        )
        try:
            command = valkey.prepare()
        except OSError as error:
            raise StartFailed(
                f"cannot start the Valkey server in {valkey.folder}: {error.strerror or error}"
            ) from error
        except UserError as error:
            raise StartFailed(str(error)) from error
        self._processes.append(
            SupervisedProcess(
                "valkey",
                lambda: command,
                environment=_environment(),
                fds=(self._lock,),
                background=self._background,
                last_words=valkey.last_words,
            )
        )
        slow = SlowStart(LOADING_S)
        while (state := await valkey.state()) != "ready":
            self._check_exits()
            if isinstance(state, float):
                slow.waits(f"the log to load: {state:.0%}")
            await asyncio.sleep(POLL_S)
        if valkey.cut():
            logger.warning(
                "removed an incomplete record from the end of the log, as a power cut leaves: its "
                "write was never confirmed, so nothing that was accepted is lost"
            )
        return valkey.url

    def _start_role(
        self, name: str, settings: Settings, arguments: Callable[[], list[str]], *fds: int
    ) -> None:
        # -P: the working directory may hold a folder with the name of one of these packages.
        python = [sys.executable, "-P", "-m", "ops.cli.main"]
        self._processes.append(
            SupervisedProcess(
                name,
                lambda: [*python, *arguments(), "--name", name, "--quiet"],
                environment=_environment() | environment_of(settings, self._sources),
                fds=(self._lock, *fds),
                background=self._background,
            )
        )

    def _check_exits(self) -> None:
        """Raise StartFailed if a process keeps exiting."""
        if self._background.gave_up is not None:
            raise self._background.gave_up
        for process in self._processes:
            if process.exits >= EXITS_AT_START:
                folder = self._settings.folder
                is_full = shutil.disk_usage(folder).free < FULL_DISK_BYTES
                hint = f": the disk of {folder} is full, so free some space" if is_full else ""
                raise StartFailed(
                    f"{process.name} ended {process.exits} times during the start; the lines above "
                    f"say why{hint}"
                )

    async def _drain(self) -> None:
        """Stop the roles one after the other, so that each can pass on the work it has."""
        for role, patience_s in (
            ("gateway", self._settings.drain_s + GRACE_S),
            ("worker", self._settings.worker_drain_s + GRACE_S),
            ("archiver", ARCHIVER_DRAIN_S),
            ("webhooks", self._settings.webhook_timeout_s + GRACE_S),
            ("projector", PROJECTOR_DRAIN_S),
            ("valkey", VALKEY_DRAIN_S),
        ):
            processes = [each for each in self._processes if each.name.partition("-")[0] == role]
            await asyncio.gather(*(process.stop(patience_s) for process in processes))


def _worker(settings: Settings, slot: int) -> Callable[[], list[str]]:
    on = machine(settings.folder)

    def arguments() -> list[str]:
        consumer = f"{on}:{slot}:{uuid.uuid4().hex[:8]}"
        # The previous worker of this slot has ended: this process holds the lock and saw it end.
        return ["worker", "--consumer", consumer, "--dead", f"{on}:{slot}:"]

    return arguments


def _sharing_memory(settings: Settings) -> Settings:
    """Return the settings of one worker, with its share of this machine's memory."""
    each = settings.worker_memory_bytes or memory.share(max(1, settings.workers))
    return msgspec.structs.replace(settings, worker_memory_bytes=each)


def _with_port(settings: Settings, offset: int) -> Settings:
    """Return the settings of the role whose metrics port is ``offset`` after that of ``up``."""
    port = settings.metrics_port and settings.metrics_port + offset
    return msgspec.structs.replace(settings, metrics_port=port)


def _environment() -> dict[str, str]:
    """Return this process's environment without the settings, which are passed on separately."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


async def _readiness(host: str, port: int) -> str:
    """Return the status of the gateway's health check, ``200`` if ready; empty if no answer."""
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
    """Do the work, but cancel it when ``event`` is set."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
