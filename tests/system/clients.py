"""Well-behaved clients: they retry a request until it is answered, and upload nothing twice."""

import hashlib
import random
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx

from gateway.http.auth import SCOPES
from ops.config.settings import Settings
from ops.runtime.tokens import mint
from tests.system.photos import broken, jpeg

PATIENCE_S = 300.0
"""How long a client retries; the test fails if the system is down for longer."""

ANSWER_S = 6.0
"""How long a client waits for an answer before it closes the connection and retries."""

HURRY_S = 0.5
"""Shorter than Retry-After, to keep the tests fast."""

SIZES = ((64, 48), (64, 48), (64, 48), (64, 48), (1600, 1200))
"""In pixels; the large ones take long enough to be hit by a fault."""


class Answer(NamedTuple):
    """The answer to an upload; ``key`` is its idempotency key, None if it had none."""

    status: int
    photo_id: str
    key: str | None
    sha256: str


@dataclass
class Accepted:
    """What the system has promised: photos by id, and all answers to uploads."""

    photos: set[str] = field(default_factory=set[str])
    broken: set[str] = field(default_factory=set[str])
    deleted: set[str] = field(default_factory=set[str])
    answers: list[Answer] = field(default_factory=list[Answer])


Connect = Callable[[str], httpx.AsyncClient]
"""Return an HTTP client signed in under the name."""


async def use(
    connect: Connect,
    chance: random.Random,
    accepted: Accepted,
    *,
    numbers: Iterator[int],
    clients: int = 3,
    pause_s: float = 0.0,
) -> None:
    """Upload a photo for each of ``numbers``, and use the photos as clients do.

    One file in ten is not an image; one in eight is deleted and one in ten reprocessed, at a random
    time after its upload; one in eight is sent again, with or without its key. ``pause_s`` is the
    mean time between two uploads of a client. ``accepted`` records the answers.
    """

    async def upload_some(name: str, chance: random.Random) -> None:
        async with connect(name) as http, anyio.create_task_group() as later:
            for number in numbers:
                is_broken = chance.random() < 0.1
                size = chance.choice(SIZES)
                photo = broken(f"{number}") if is_broken else jpeg(f"{number}", size)
                key = str(uuid.uuid4())
                answer = await send(http, photo, key, chance.randint(1, 10), _pipeline(chance))
                photo_id = _note(accepted, answer, photo, key)
                if is_broken:
                    accepted.broken.add(photo_id)
                if chance.random() < 0.125:
                    accepted.deleted.add(photo_id)
                    later.start_soon(_delete_later, http, photo_id, chance.uniform(0, 3))
                elif chance.random() < 0.125:
                    again = key if chance.random() < 0.5 else None
                    later.start_soon(_send_later, http, photo, again, accepted, chance.random())
                elif chance.random() < 0.1:
                    later.start_soon(_reprocess_later, http, photo_id, chance.uniform(0, 3))
                await anyio.sleep(chance.uniform(0, 2 * pause_s))

    async with anyio.create_task_group() as tasks:
        for number in range(clients):
            each = random.Random(chance.random())
            tasks.start_soon(upload_some, f"client-{number}", each)


def client_of(data: Path, client_id: str) -> httpx.AsyncClient:
    """Return a client signed in to the system on ``data``; it times out after ``ANSWER_S``."""
    url = (data / "url").read_text("utf-8").strip()
    token = mint(Settings(data=str(data)), client_id, "client", 3600, SCOPES)
    headers = {"Authorization": f"Bearer {token}"}
    # Without certificates: they take long to load, and plain HTTP does not use them.
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=ANSWER_S, verify=False)


async def upload(
    http: httpx.AsyncClient,
    photo: bytes,
    priority: int = 5,
    pipeline: str = "full_processing",
    key: str | None = None,
) -> str:
    """Upload until an answer has the photo's id, and return it; ``key`` is the idempotency key."""
    answer = await send(http, photo, key or str(uuid.uuid4()), priority, pipeline)
    return answer.json()["photoId"]


async def send(
    http: httpx.AsyncClient,
    photo: bytes,
    key: str | None,
    priority: int = 5,
    pipeline: str = "full_processing",
) -> httpx.Response:
    """Return the answer with the photo's id; without ``key`` the same bytes are a duplicate."""
    answer = await _ask(
        http,
        "POST",
        "/api/photos/upload",
        headers={"Idempotency-Key": key} if key else {},
        files={"file": ("a.jpg", photo)},
        data={"priority": str(priority), "pipeline": pipeline},
    )
    assert answer.is_success, answer.text
    return answer


def _note(accepted: Accepted, answer: httpx.Response, photo: bytes, key: str | None) -> str:
    photo_id: str = answer.json()["photoId"]
    digest = hashlib.sha256(photo).hexdigest()
    accepted.photos.add(photo_id)
    accepted.answers.append(Answer(answer.status_code, photo_id, key, digest))
    return photo_id


async def _send_later(
    http: httpx.AsyncClient, photo: bytes, key: str | None, accepted: Accepted, after_s: float
) -> None:
    await anyio.sleep(after_s)
    _note(accepted, await send(http, photo, key), photo, key)


async def delete(http: httpx.AsyncClient, photo_id: str) -> None:
    answer = await _ask(http, "DELETE", f"/api/photos/{photo_id}")
    assert answer.status_code == 204, answer.text


async def reprocess(http: httpx.AsyncClient, photo_id: str) -> None:
    """Request reprocessing; a photo whose job is running is skipped."""
    answer = await _ask(http, "POST", f"/api/photos/{photo_id}/reprocess")
    assert answer.status_code in (202, 409), answer.text


async def _delete_later(http: httpx.AsyncClient, photo_id: str, after_s: float) -> None:
    await anyio.sleep(after_s)
    await delete(http, photo_id)


async def _reprocess_later(http: httpx.AsyncClient, photo_id: str, after_s: float) -> None:
    await anyio.sleep(after_s)
    await reprocess(http, photo_id)


def _pipeline(chance: random.Random) -> str:
    return chance.choice(("full_processing", "full_processing", "quick_processing"))


async def _ask(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    files: dict[str, tuple[str, bytes]] | None = None,
    data: dict[str, str] | None = None,
) -> httpx.Response:
    """Return the first answer that does not ask for a retry."""
    deadline = time.monotonic() + PATIENCE_S
    reason = "nothing"
    while time.monotonic() < deadline:
        try:
            answer = await http.request(method, path, headers=headers, files=files, data=data)
        except httpx.TransportError as error:
            reason = repr(error)
            await anyio.sleep(0.01)
            continue
        if answer.status_code not in (503, 507):
            return answer
        reason = answer.text
        assert answer.status_code == 507 or "Retry-After" in answer.headers, reason
        await anyio.sleep(HURRY_S)
    raise TimeoutError(f"{method} {path} was not accepted within {PATIENCE_S:g} s: {reason}")
