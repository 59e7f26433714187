"""Every process is killed again and again during uploads; every promise is kept."""

import asyncio
import os
import random
import signal
import time

import httpx

from ops.bench.system import System, running
from tests.servers import LONG
from tests.system.photos import jpeg
from tests.system.quiescence import settled

ROUNDS = 10 if LONG else 1
"""How often each role is killed."""

PHOTOS = 50 * ROUNDS
UPLOADERS = 4
ROLES = ("gateway", "projector", "worker", "valkey-server")
CALM_S = 90.0


async def test_every_accepted_photo_is_completed_though_every_process_is_killed() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    with running() as system:
        accepted = await _upload_and_kill(system, random.Random(seed))
        await _wait_until_completed(system, accepted)

        found = await settled(system.data)

    assert found.wrong == []
    assert found.failed == {}
    assert found.completed == accepted


async def _upload_and_kill(system: System, chance: random.Random) -> set[str]:
    """Return the ids answered with 201 while each role was killed ``ROUNDS`` times."""
    victims = [role for _ in range(ROUNDS) for role in ROLES]
    chance.shuffle(victims)
    moments = dict(zip(sorted(chance.sample(range(PHOTOS), len(victims))), victims, strict=True))
    accepted: set[str] = set()
    numbers = iter(range(PHOTOS))

    async def upload(client: httpx.AsyncClient) -> None:
        for number in numbers:
            if number in moments:
                _kill(system, moments[number])
            accepted.add(await _send(client, jpeg(f"{number}")))

    async with system.client("alice") as client:
        await asyncio.gather(*(upload(client) for _ in range(UPLOADERS)))
    assert len(accepted) == PHOTOS
    return accepted


async def _send(client: httpx.AsyncClient, photo: bytes) -> str:
    """Upload, retrying as any client would, and return the photo's id."""
    deadline = time.monotonic() + CALM_S
    while time.monotonic() < deadline:
        try:
            answer = await client.post("/api/photos/upload", files={"file": ("a.jpg", photo)})
        except httpx.TransportError:
            continue
        if answer.is_success:
            return answer.json()["photoId"]
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(0.1)  # shorter than Retry-After, to keep the test fast
    raise TimeoutError("no upload was accepted")


def _kill(system: System, role: str) -> None:
    for pid, name in system.processes().items():
        if name == role:
            os.kill(pid, signal.SIGKILL)
            return


async def _wait_until_completed(system: System, accepted: set[str]) -> None:
    """Wait until the read model shows it, which also proves that it has caught up."""
    deadline = time.monotonic() + CALM_S
    async with system.client("alice") as client:
        waiting = set(accepted)
        while waiting:
            assert time.monotonic() < deadline, f"{len(waiting)} photos did not complete"
            for photo_id in list(waiting):
                try:
                    answer = await client.get(f"/api/photos/{photo_id}")
                except httpx.TransportError:
                    break
                if answer.is_success and answer.json()["processingStatus"] == "completed":
                    waiting.remove(photo_id)
                else:
                    break
            await asyncio.sleep(0.05)
