"""Measure how a crowd of hostile clients slows down an honest one.

The honest client repeatedly uploads a photo, waits until it is completed, and lists its photos,
first alone and then in the crowd. Meanwhile another client checks the health every half second.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import msgspec

from ops.bench import report
from ops.bench.hostile import KINDS, Target
from ops.bench.latency import photo
from ops.bench.system import System, running

ALONE_S = 20.0
HEALTH_EVERY_S = 0.5
HEALTH_PATIENCE_S = 5.0
PATIENCE_S = 60.0

HONEST, HOSTILE = "honest", "mallory"


class Noticed(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of each step for each photo; ``unwell`` are the failed health checks."""

    uploads: list[float]
    completions: list[float]
    lists: list[float]
    checks: int
    unwell: list[str]


def run(minutes: float) -> None:
    report.headline("An honest client beside a crowd of hostile ones")
    report.note(f"hostile kinds, each from its own address: {', '.join(KINDS)}")
    with running(PHOTOLOG_SECURITY_LINES="1") as system:  # more lines would bury the figures
        alone = asyncio.run(use(system, ALONE_S))
        with hostile(system, minutes * 60):
            beside = asyncio.run(use(system, minutes * 60 - 2))
    for name in ("uploads", "completions", "lists"):
        few, many = getattr(alone, name), getattr(beside, name)
        report.line(f"{name}, alone", few, "ms")
        report.line(f"{name}, in the crowd", many, "ms")
        for percent in (50, 95):
            ratio = report.percentile(many, percent) / report.percentile(few, percent)
            report.note(f"  {f'ratio, {percent}th percentile':<42}{ratio:>12.2f}")
    report.note(f"  health checks {beside.checks}, without an answer {len(beside.unwell)}")
    for each in beside.unwell[:5]:
        report.note(f"    {each}")


@contextmanager
def hostile(system: System, seconds: float, *kinds: str) -> Generator[None]:
    """Run hostile clients of all kinds, or of ``kinds``, for at most ``seconds``."""
    target = Target(
        port=urlsplit(system.url).port or 0,
        token=system.token(HOSTILE, "--scope", "priority:high"),
        seconds=seconds,
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.bench.hostile", *kinds], stdin=subprocess.PIPE
    )
    try:
        if process.stdin is not None:
            with process.stdin:
                process.stdin.write(msgspec.json.encode(target))
        yield
    finally:
        process.kill()
        process.wait()


async def use(system: System, seconds: float) -> Noticed:
    """Act as the honest client for ``seconds``."""
    noticed = Noticed(uploads=[], completions=[], lists=[], checks=0, unwell=[])
    end = time.monotonic() + seconds
    async with (
        system.client(HONEST) as client,
        client.stream("GET", "/api/events", params={"room": "client"}) as stream,
        asyncio.TaskGroup() as tasks,
    ):
        stream.raise_for_status()
        checking = tasks.create_task(_check(system.url, noticed.unwell))
        completed = _completed(stream)
        while time.monotonic() < end:
            await _one(client, completed, noticed)
        checking.cancel()
    return msgspec.structs.replace(noticed, checks=int(seconds / HEALTH_EVERY_S))


async def _one(client: httpx.AsyncClient, completed: AsyncIterator[str], noticed: Noticed) -> None:
    began = time.perf_counter()
    async with asyncio.timeout(PATIENCE_S):
        answer = await client.post(
            "/api/photos/upload", files={"file": ("a.jpg", photo(f"{time.time_ns()}"))}
        )
        answer.raise_for_status()
        noticed.uploads.append((time.perf_counter() - began) * 1000)
        async for photo_id in completed:
            if photo_id == answer.json()["photoId"]:
                break
        noticed.completions.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        (await client.get("/api/photos", params={"limit": 50})).raise_for_status()
        noticed.lists.append((time.perf_counter() - began) * 1000)


async def _completed(stream: httpx.Response) -> AsyncIterator[str]:
    async for row in stream.aiter_lines():
        if row.startswith("data:"):
            event = json.loads(row[5:])
            if event.get("type") == "photo.processing.completed":
                yield event["data"]["photoId"]
    raise RuntimeError("the room closed")


async def _check(url: str, unwell: list[str]) -> None:
    while True:
        try:
            async with httpx.AsyncClient(timeout=HEALTH_PATIENCE_S) as client:
                answer = await client.get(f"{url}/health/ready")
            if answer.status_code != 200:
                unwell.append(f"{answer.status_code} {answer.text[:200]}")
        except httpx.HTTPError as error:
            unwell.append(repr(error))
        await asyncio.sleep(HEALTH_EVERY_S)
