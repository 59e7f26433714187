"""From sending an upload to its first event in the client's room."""

import asyncio
import io
import json
import time

import httpx
from PIL import Image

from ops.bench import report
from ops.bench.system import System, running

UPLOADS = 200
PATIENCE_S = 10.0


def run(rounds: int) -> None:
    report.headline("Upload to first room event")
    medians: list[float] = []
    slowest: list[float] = []
    with running() as system:
        for number in range(rounds):
            samples = asyncio.run(_measure(system, f"latency-{number}"))
            medians.append(report.percentile(samples, 50))
            slowest.append(report.percentile(samples, 99))
    report.note(f"{UPLOADS} uploads of a 2 KB JPEG, one after another, a run")
    report.line("median", medians, "ms")
    report.line("p99", slowest, "ms")


async def _measure(system: System, client_id: str) -> list[float]:
    arrived: dict[str, float] = {}
    rang = asyncio.Event()
    async with system.client(client_id) as client:
        async with client.stream("GET", "/api/events", params={"room": "client"}) as stream:
            listening = asyncio.create_task(_listen(stream, arrived, rang))
            samples = [
                await _upload(client, number, client_id, arrived, rang) for number in range(UPLOADS)
            ]
            listening.cancel()
        return samples


async def _listen(stream: httpx.Response, arrived: dict[str, float], rang: asyncio.Event) -> None:
    stream.raise_for_status()
    async for row in stream.aiter_lines():
        if row.startswith("data:"):
            now = time.perf_counter()
            data = json.loads(row[5:]).get("data")
            if data is not None:
                arrived.setdefault(data["photoId"], now)
            rang.set()


async def _upload(
    client: httpx.AsyncClient,
    number: int,
    client_id: str,
    arrived: dict[str, float],
    rang: asyncio.Event,
) -> float:
    """Milliseconds."""
    photo = _photo(f"{client_id} {number}")
    began = time.perf_counter()
    answer = await client.post(
        "/api/photos/upload", files={"file": (f"{number}.jpg", photo, "image/jpeg")}
    )
    answer.raise_for_status()
    photo_id = answer.json()["photoId"]
    while photo_id not in arrived:
        rang.clear()
        await asyncio.wait_for(rang.wait(), PATIENCE_S)
    return (arrived[photo_id] - began) * 1000


def _photo(text: str) -> bytes:
    """A small JPEG unlike any other: the text is its comment."""
    buffer = io.BytesIO()
    Image.new("RGB", (320, 240), (90, 120, 150)).save(buffer, "JPEG", comment=text.encode())
    return buffer.getvalue()
