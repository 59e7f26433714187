"""Run a role of the system in this process until SIGTERM or SIGINT."""

import contextlib
import logging
import os
import signal
import socket
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus

from ops.config.settings import Settings
from ops.config.validation import check
from ops.errors import one_by_one
from ops.maintenance.bundled import known_flaws
from ops.process import garbage
from ops.process.lock import base_url, listen
from ops.runtime import wiring
from ops.runtime.archiving import open_archiver
from ops.telemetry.logs import starting
from ops.telemetry.metrics_server import announced, metrics_served
from store.background import Background

if TYPE_CHECKING:
    import uvicorn

logger = logging.getLogger("photolog")


def run(role: Coroutine[Any, Any, None]) -> None:
    """Run the role on uvloop."""

    async def main() -> None:
        await role

    anyio.run(main, backend_options={"use_uvloop": True})


def standalone_name(role: str) -> str:
    """Return a name, unique among running processes, for one that was started without a name."""
    return f"{role}-{socket.gethostname()}-{os.getpid()}"


async def gateway(
    settings: Settings,
    *,
    name: str,
    fd: int | None = None,
    sources: Mapping[str, str] | None = None,
) -> None:
    """Serve HTTP on the listening socket ``fd``, or on a new one; ``sources`` of the settings.

    On a signal it stops accepting connections and finishes the requests it has begun.
    """
    check(settings)
    with garbage.no_collections():  # not for the other roles, see ops.runtime.wiring
        import uvicorn  # noqa: PLC0415

        from gateway.app import create_app  # noqa: PLC0415
        from gateway.http.server import configuration  # noqa: PLC0415

    listener = socket.socket(fileno=fd) if fd is not None else listen(settings.host, settings.port)
    async with (
        _until_signalled() as stop,
        wiring.open_telemetry(settings, "gateway", name) as telemetry,
        wiring.open_gateway(settings, name, telemetry, sources=sources) as deps,
    ):
        server = uvicorn.Server(configuration(create_app(deps), deps.limits))
        # uvicorn handles the signals itself while it serves, and raises them again afterwards.
        stop.on_first = stop.on_further = lambda: None
        starting.info("listening at %s", base_url(listener))
        garbage.collect_less()
        with announced(settings.folder, name, base_url(listener)):
            await _serve(server, listener, deps.background)


async def _serve(server: "uvicorn.Server", listener: socket.socket, background: Background) -> None:
    """Serve until a signal, or until a task has failed too often, which ends the process."""

    async def end_with_tasks() -> None:
        await background.over()
        server.should_exit = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end_with_tasks)
        await server.serve(sockets=[listener])
        tasks.cancel_scope.cancel()
    if background.gave_up is not None:
        raise background.gave_up


async def projector(settings: Settings, *, name: str) -> None:
    """Keep the read model up to date with the log."""
    check(settings)
    async with (
        _until_signalled(),
        wiring.open_telemetry(settings, "projector", name) as telemetry,
        metrics_served(
            telemetry.exposition,
            settings.folder,
            name,
            *_metrics_address(settings),
            background=telemetry.background,
        ),
        wiring.open_projector(settings, name, telemetry) as role,
    ):
        await role.run()


async def archiver(settings: Settings, *, name: str) -> None:
    """Seal the log into segments, and trim what is sealed."""
    check(settings)
    async with (
        _until_signalled(),
        wiring.open_telemetry(settings, "archiver", name) as telemetry,
        metrics_served(
            telemetry.exposition,
            settings.folder,
            name,
            *_metrics_address(settings),
            background=telemetry.background,
        ),
        open_archiver(settings, name, telemetry) as role,
    ):
        await role.run()


async def webhooks(settings: Settings, *, name: str) -> None:
    """Deliver webhooks; on a signal, finish the requests in flight."""
    check(settings)
    from ops.runtime.webhooks import open_webhooks  # noqa: PLC0415 # not for the other roles

    async with (
        _until_signalled() as stop,
        wiring.open_telemetry(settings, "webhooks", name) as telemetry,
        metrics_served(
            telemetry.exposition,
            settings.folder,
            name,
            *_metrics_address(settings),
            background=telemetry.background,
        ),
        open_webhooks(settings, name, telemetry) as role,
    ):
        stop.on_first = role.stop
        await role.run()


async def worker(
    settings: Settings, *, name: str, consumer: str | None = None, dead: str | None = None
) -> None:
    """Run tasks; on a signal, finish those in hand."""
    check(settings)
    consumer = consumer or f"{name}:{uuid.uuid4().hex[:8]}"
    async with (
        _until_signalled() as stop,
        wiring.open_telemetry(settings, "worker", name) as telemetry,
        metrics_served(
            telemetry.exposition,
            settings.folder,
            name,
            *_metrics_address(settings),
            background=telemetry.background,
        ),
        wiring.open_worker(settings, name, telemetry, consumer=consumer, dead=dead) as role,
    ):
        stop.on_first = role.stop
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_log_known_flaws)
            await role.run()


async def _log_known_flaws() -> None:
    for flaw in await known_flaws():
        logger.warning("security: %s", flaw)


def _metrics_address(settings: Settings) -> tuple[str, int]:
    return settings.metrics_host, settings.metrics_port


class _StopActions:
    """Actions to take at the first signal to stop, and at each further one."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self.on_first = cancel
        self.on_further = cancel


@contextlib.asynccontextmanager
async def _until_signalled() -> AsyncGenerator[_StopActions]:
    """Cancel the block at SIGTERM or SIGINT, unless the block sets other actions."""
    with one_by_one():
        async with anyio.create_task_group() as tasks:
            actions = _StopActions(tasks.cancel_scope.cancel)

            async def receive(task_status: TaskStatus[None]) -> None:
                with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                    task_status.started()
                    await anext(signals)
                    actions.on_first()
                    async for _ in signals:
                        actions.on_further()

            await tasks.start(receive)
            yield actions
            tasks.cancel_scope.cancel()
