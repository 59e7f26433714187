"""Measure the same work on different servers: embedded, external Redis and S3, a cluster."""

import asyncio
import time
import uuid
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from ops.bench import pipeline, report, servers
from ops.bench.photos import context, upload
from ops.bench.system import System, running
from ops.config.loading import load
from ops.config.settings import Settings
from ops.runtime.wiring import open_log

WRITERS = 50
APPENDS = 5_000


def run(rounds: int, photos: Path | None) -> None:
    """Measure photos and appends per second in each place, one after the other in every round."""
    report.headline("Photos and appends per second, by where log and photos are")
    report.note(f"{APPENDS} appends by {WRITERS} writers, appendfsync always; all on this machine")
    files = sorted(path for path in photos.iterdir() if path.is_file()) if photos else []
    if not files:
        report.note("photos skipped: name a folder of them with --photos")
    done: dict[str, list[float]] = {}
    appended: dict[str, list[float]] = {}
    for _ in report.rounds(rounds):
        for name, place in _places().items():
            with place as environment, running(**environment) as system:
                if files:
                    pipeline.processed(system, "warm-up", files)
                    done.setdefault(name, []).append(pipeline.processed(system, "measured", files))
                appended.setdefault(name, []).append(
                    asyncio.run(_appends_per_s(_settings(system, environment)))
                )
    for name, rates in done.items():
        report.line(name, rates, "photos/s", digits=2)
    for name, rates in appended.items():
        report.line(name, rates, "appends/s", digits=0)


def _places() -> dict[str, AbstractContextManager[servers.Environment]]:
    places: dict[str, AbstractContextManager[servers.Environment]] = {
        "embedded": servers.embedded()
    }
    versitygw = servers.s3_binary()
    if versitygw is None:
        report.note(servers.GET_S3)
    else:
        places["Redis and S3 outside"] = servers.outside(versitygw)
    return places | {"cluster of three": servers.cluster()}


def _settings(system: System, environment: servers.Environment) -> Settings:
    return load({**environment, "PHOTOLOG_DATA": str(system.data)}).settings


async def _appends_per_s(settings: Settings) -> float:
    """Return the appends per second of writers that are different clients, in all partitions.

    The log has another prefix than the running system, which would otherwise process the photos.
    """
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    async with open_log(settings, create=True, prefix=prefix) as log:

        async def write(client_id: str, count: int) -> None:
            for _ in range(count):
                command = msgspec.structs.replace(upload(), client_id=client_id)
                await log.execute(command, client_id=client_id, context=context())

        clients = [f"bench-{number}" for number in range(WRITERS)]
        await asyncio.gather(*(write(client_id, 1) for client_id in clients))
        began = time.perf_counter()
        await asyncio.gather(*(write(client_id, APPENDS // WRITERS) for client_id in clients))
        return APPENDS / (time.perf_counter() - began)
