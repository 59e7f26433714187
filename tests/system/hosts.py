"""Run hosts of one system in this process: each with a gateway, a projector and workers."""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec

from gateway.app import create_app
from gateway.http.auth import Role
from ops.config.settings import Settings
from ops.runtime import wiring
from ops.telemetry.telemetry import Telemetry
from store.log.log import Log
from tests.gateway.conftest import serving
from tests.system.photos import jpeg

DEADLINE_S = 60.0
LOOK_EVERY_S = 0.02
SECRET = "a secret that all hosts of a test share"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A running host: its URL, and its own view of the log."""

    url: str
    log: Log
    tokens: Any

    def client_of(self, client_id: str, role: Role = Role.CLIENT) -> httpx.AsyncClient:
        token = self.tokens.issue(client_id, role, 3600, time.time())
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, verify=False)


def settings_of(folder: Path, redis_url: str, **others: Any) -> Settings:
    """Return the settings of a host on ``folder``; hosts in one parent folder share their blobs."""
    shared = folder.parent / "blobs"
    shared.mkdir(exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "blobs").exists():
        (folder / "blobs").symlink_to(shared)
    given: dict[str, Any] = {"decoders": 1, "secret": SECRET, "reserve_bytes": 0} | others
    return Settings(data=str(folder), redis_url=redis_url, **given)


@asynccontextmanager
async def host(settings: Settings, prefix: str, *, workers: int = 1) -> AsyncGenerator[Host]:
    """Run a gateway on a free port, a projector and workers while the block runs."""
    name = f"{socket.gethostname()}-{uuid.uuid4().hex[:6]}"
    async with AsyncExitStack() as stack:
        projector = await stack.enter_async_context(
            wiring.open_projector(settings, "projector", Telemetry("projector"), prefix=prefix)
        )
        running = [
            await stack.enter_async_context(
                wiring.open_worker(
                    settings,
                    f"{name}-worker-{number}",
                    Telemetry("worker"),
                    consumer=f"{name}:{number}:{uuid.uuid4().hex[:8]}",
                    prefix=prefix,
                )
            )
            for number in range(workers)
        ]
        deps = await stack.enter_async_context(
            wiring.open_gateway(settings, f"{name}-gateway", Telemetry("gateway"), prefix=prefix)
        )
        url = await stack.enter_async_context(serving(create_app(deps), deps.limits))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(projector.run)
            for worker in running:
                tasks.start_soon(worker.run)
            with anyio.fail_after(DEADLINE_S):
                while wiring.generations(settings).current() is None:
                    await anyio.sleep(0.02)
            yield Host(url=url, log=deps.log, tokens=deps.tokens)
            for worker in running:
                worker.stop()
            tasks.cancel_scope.cancel()


async def upload(http: httpx.AsyncClient, text: str) -> dict[str, Any]:
    """Upload an image, retrying under the same key until it is accepted."""
    key, deadline = str(uuid.uuid4()), time.monotonic() + DEADLINE_S
    while True:
        try:
            answer = await http.post(
                "/api/photos/upload",
                files={"file": ("a.jpg", jpeg(text))},
                headers={"Idempotency-Key": key},
            )
        except httpx.TransportError as error:
            reason = repr(error)
        else:
            if answer.is_success:
                return answer.json()
            reason = answer.text
            assert answer.status_code == 503, reason
        assert time.monotonic() < deadline, f"not accepted within {DEADLINE_S:g} s: {reason}"
        await asyncio.sleep(0.1)


async def answered(http: httpx.AsyncClient, path: str) -> Any:
    """Return the answer to a GET, retrying after 503: a healthy cluster may report that it is down
    for a moment, while its nodes find out which of them is."""
    with anyio.fail_after(DEADLINE_S):
        while (answer := await http.get(path)).status_code == 503:
            await anyio.sleep(float(answer.headers["Retry-After"]))
    assert answer.is_success, answer.text
    return answer.json()


async def until(condition: Callable[[], object]) -> None:
    """Wait for the condition with a deadline."""
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await anyio.sleep(LOOK_EVERY_S)


async def completed(
    http: httpx.AsyncClient, photo_id: str, job_id: str | None = None
) -> dict[str, Any]:
    """Wait until the read model shows all stages as done, and return the photo.

    ``job_id`` is the job that has to have done them, by default any.
    """
    deadline = time.monotonic() + DEADLINE_S
    while True:
        answer = await http.get(f"/api/photos/{photo_id}")
        reason = answer.text
        if answer.is_success:
            photo: dict[str, Any] = answer.json()
            if photo["processingStatus"] == "completed" and photo["jobId"] == (
                job_id or photo["jobId"]
            ):
                return photo
        assert time.monotonic() < deadline, f"not completed within {DEADLINE_S:g} s: {reason}"
        await asyncio.sleep(LOOK_EVERY_S)


async def main_job(host: Host, client_id: str = "alice") -> None:
    """Upload, watch, process, show, delete and erase a photo."""
    async with host.client_of(client_id) as http:
        photo = await upload(http, f"{uuid.uuid4()}")
        photo_id = photo["photoId"]
        seen = await _heard(http, photo, "photo.processing.completed")
        assert seen[0] == "photo.processing.started"
        shown = await completed(http, photo_id)
        assert {each["size"] for each in shown["thumbnails"]} == {150, 300, 600}
        assert (await http.get(f"/api/photos/{photo_id}/original")).is_success
        assert (await http.delete(f"/api/photos/{photo_id}")).status_code == 204
        assert (await _heard(http, photo, "photo.erased"))[-1] == "photo.erased"


async def _heard(http: httpx.AsyncClient, photo: dict[str, Any], last: str) -> list[str]:
    """Return the types of the client's events after the upload, up to ``last``."""
    types: list[str] = []
    asked = {"room": "client", "lastEventId": photo["position"]}
    with anyio.fail_after(DEADLINE_S):
        async with http.stream("GET", "/api/events", params=asked) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: ") and '"type"' in line:
                    event = msgspec.json.decode(line.removeprefix("data: "))
                    types.append(event["type"])
                    if event["type"] == last:
                        return types
    raise AssertionError("the stream ended")
