"""Measure the time from sending an upload to its first event in the client's room.

"Alone" sends each photo when the previous one is completed; "in a row" sends each as soon as the
first event of the previous one has arrived.
"""

import asyncio
import io
import json
import time
from collections.abc import AsyncGenerator

import httpx
from PIL import Image

from ops.bench import report
from ops.bench.system import System, running

ALONE = 50
ROW = 200
PATIENCE_S = 10.0

FIRST = "photo.uploaded"
LAST = "photo.processing.completed"


def run(rounds: int) -> None:
    report.headline("Upload to first room event")
    report.note(f"of a 2 KB JPEG; alone: {ALONE} a run, in a row: {ROW}")
    alone: list[list[float]] = []
    row: list[list[float]] = []
    with running() as system:
        for number in report.rounds(rounds):
            alone.append(asyncio.run(_measure(system, f"alone-{number}", ALONE, LAST)))
            row.append(asyncio.run(_measure(system, f"row-{number}", ROW, FIRST)))
    for name, samples in (("alone", alone), ("in a row", row)):
        for percent, what in ((50, "median"), (99, "p99")):
            report.line(
                f"{name}, {what}", [report.percentile(each, percent) for each in samples], "ms"
            )


async def _measure(system: System, client_id: str, count: int, until: str) -> list[float]:
    """Return the milliseconds from each upload to its first event.

    The next upload follows the event ``until`` of the previous one.
    """
    samples: list[float] = []
    async with (
        system.client(client_id) as client,
        client.stream("GET", "/api/events", params={"room": "client"}) as stream,
    ):
        stream.raise_for_status()
        events = _events(stream)
        for number in range(count):
            picture = photo(f"{client_id} {number}")
            began = time.perf_counter()
            async with asyncio.TaskGroup() as tasks, asyncio.timeout(PATIENCE_S):
                tasks.create_task(_upload(client, f"{number}.jpg", picture))
                samples.append((await _next(events, FIRST) - began) * 1000)
            if until != FIRST:
                await _next(events, until)
    return samples


async def _upload(client: httpx.AsyncClient, name: str, photo: bytes) -> None:
    answer = await client.post("/api/photos/upload", files={"file": (name, photo, "image/jpeg")})
    answer.raise_for_status()


async def _events(stream: httpx.Response) -> AsyncGenerator[tuple[str, float]]:
    """Yield the type of each event, and when it arrived."""
    async for row in stream.aiter_lines():
        if row.startswith("data:"):
            yield json.loads(row[5:]).get("type"), time.perf_counter()


async def _next(events: AsyncGenerator[tuple[str, float]], kind: str) -> float:
    """Wait for the next event of the kind, and return when it arrived."""
    async for found, at in events:
        if found == kind:
            return at
    raise RuntimeError("the room closed")


def photo(text: str) -> bytes:
    """Return a small JPEG with the text as its comment, which makes it unique."""
    buffer = io.BytesIO()
    Image.new("RGB", (320, 240), (90, 120, 150)).save(buffer, "JPEG", comment=text.encode())
    return buffer.getvalue()
