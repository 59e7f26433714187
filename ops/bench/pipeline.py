"""Measure real photos per second from upload to completion, beside raw Pillow alone."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import anyio
import httpx

from ops.bench import raw, report
from ops.bench.system import System, cpu_s_of, running

UPLOADERS = 4
BOUNDARY = "photolog-bench"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
PASSES = 20
"""How often each photo is processed in a run, so that a run takes several seconds."""


def run(rounds: int, folder: Path) -> None:
    report.headline("Real photos per second, end to end")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if not files:
        raise SystemExit(f"no photos in {folder}: name a folder with --photos")
    cores = os.cpu_count() or 1
    report.note(f"{len(files)} photos of {folder.name}/, {PASSES} times a run, {cores} processes")
    ours: list[float] = []
    limit: list[float] = []
    spent: Counter[str] = Counter()
    with running() as system:
        processed(system, "warm-up", files)
        for number in report.rounds(rounds):
            limit.append(raw.photos_per_second(files * PASSES, cores))
            before, own = system.cpu_s(), cpu_s_of(os.getpid())
            ours.append(processed(system, f"pipeline-{number}", files))
            after = system.cpu_s()
            used = {role: after[role] - before.get(role, 0.0) for role in after}
            spent.update(used | {"this measurement": cpu_s_of(os.getpid()) - own})
    report.line("raw Pillow", limit, "photos/s", digits=2)
    report.line("Photolog", ours, "photos/s", digits=2)
    report.ratio("ratio", ours, limit)
    photos = len(files) * PASSES * rounds
    report.note("CPU time a photo, by process:")
    for role, seconds in spent.most_common():
        share = 100 * seconds / sum(spent.values())
        report.note(f"  {role:<42}{1000 * seconds / photos:>12.1f} ms {share:>9.1f} %")


def processed(system: System, client_id: str, files: list[Path]) -> float:
    """Return the photos per second from the first byte sent to the last photo completed.

    Each pass has its own client: the same bytes from one client would be one photo. The clients
    share the cores with the system, so they use the cheapest event loop.
    """
    return anyio.run(_process, system, client_id, files, backend_options={"use_uvloop": True})


async def _process(system: System, client_id: str, files: list[Path]) -> float:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(system.client(f"{client_id}-{n}"))
            for n in range(PASSES)
        ]
        rooms = [await stack.enter_async_context(_room(client)) for client in clients]
        waiting = iter([(client, path) for path in files for client in clients])
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for room in rooms:
                tasks.create_task(_wait_for(room, len(files)))
            for _ in range(UPLOADERS):
                tasks.create_task(_upload(waiting))
        return len(files) * PASSES / (time.perf_counter() - began)


def _room(client: httpx.AsyncClient) -> AbstractAsyncContextManager[httpx.Response]:
    return client.stream("GET", "/api/events", params={"room": "client"})


async def _upload(waiting: Iterator[tuple[httpx.AsyncClient, Path]]) -> None:
    for client, path in waiting:
        answer = await client.post(
            "/api/photos/upload", content=_form(path), headers={"Content-Type": FORM}
        )
        answer.raise_for_status()


def _form(path: Path) -> bytes:
    """Return the form as bytes: streaming takes the library twice the time, on the same cores."""
    head = f'Content-Disposition: form-data; name="file"; filename="{path.name}"'
    return b"".join(
        (
            f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode(),
            path.read_bytes(),
            f"\r\n--{BOUNDARY}--".encode(),
        )
    )


async def _wait_for(stream: httpx.Response, count: int) -> None:
    stream.raise_for_status()
    async for row in stream.aiter_lines():
        if row.startswith("data:"):
            kind = json.loads(row[5:]).get("type")
            if kind == "photo.processing.failed":
                raise RuntimeError(f"a photo failed: {row}")
            count -= kind == "photo.processing.completed"
            if count == 0:
                return
    raise RuntimeError("the room closed before the photos were completed")
