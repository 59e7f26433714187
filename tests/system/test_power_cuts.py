"""Power cuts during uploads and deletions: answered photos are there, erased ones are not."""

import os
import random
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import pytest

from ops.maintenance.audit import audit
from ops.process.append_only import FILES, MANIFEST
from ops.process.embedded_valkey import Valkey
from store.log.log import Log
from store.redis.connection import connect
from tests.ops.systems import System, wait_until
from tests.servers import LONG
from tests.system.photos import jpeg
from tests.system.power_cuts import Disk, Left, Step, recorder, steps

DATA = Path("own", "data")
PHOTOS = 6
DELETED = 2

STARTS = 100 if LONG else 1
"""The number of power cuts after which a whole system is started."""

LOADS = 500 if LONG else 10
"""The number of power cuts after which the log's server is started."""

LOOKS = 10 if LONG else 2
"""The number of disk states examined for each sync and each answer."""

PATIENCE_S = 120.0
"""How long a traced start may take on a busy machine."""

KEPT = (0.0, 0.5, 0.9, 1.0)
"""Probabilities that a change that was not durable is kept."""


@dataclass
class Recording:
    """A recorded run on ``top/data``, beginning before its first start."""

    top: Path
    steps: list[Step]
    secret: bytes
    token: str
    photos: dict[str, bytes] = field(default_factory=dict[str, bytes])
    deleted: set[str] = field(default_factory=set[str])

    def points(self) -> list[int]:
        """Steps at which the power may fail: before and after each sync, and at each answer."""
        found: set[int] = set()
        for number, step in enumerate(self.steps):
            if step.syncs:
                found |= {number, number + 1}
            elif step.call == "send" and self.answered_in(step):
                found.add(number + 1)
        return sorted(found)

    def answered_in(self, step: Step) -> set[str]:
        return {photo for photo in self.photos if f'"photoId":"{photo}"'.encode() in step.data}

    def answered(self, point: int) -> set[str]:
        """Return the photos whose upload was answered before the power cut."""
        return set[str]().union(
            *(self.answered_in(step) for step in self.steps[:point] if step.call == "send")
        )


@pytest.fixture(scope="module")
def recording() -> Generator[Recording]:
    with tempfile.TemporaryDirectory(prefix="photolog-") as folder:
        top = Path(folder, "top")
        top.mkdir()
        trace = Path(folder, "trace")
        # Its parent does not exist either: the first start creates both.
        data = top / DATA
        system = System(
            *(data, "--workers", "1"),
            under=recorder(trace),
            notes=Path(folder),
            patience_s=PATIENCE_S,
        )
        with system:
            recorded = _use(system, top)
            os.kill(int((data / "lock").read_text()), signal.SIGTERM)
            system.process.wait(30)
        recorded.steps.extend(steps(trace, top))
        yield recorded


def _use(system: System, top: Path) -> Recording:
    """Upload, process, delete and erase photos."""
    headers = system.login()
    secret = (system.data / "secret").read_bytes()
    recorded = Recording(top, [], secret, headers["Authorization"])
    with httpx.Client(base_url=system.url, headers=headers, timeout=60) as client:
        for number in range(PHOTOS):
            photo = jpeg(f"{number}", (160, 120))
            answer = client.post("/api/photos/upload", files={"file": ("a.jpg", photo)})
            assert answer.status_code == 201, answer.text
            recorded.photos[answer.json()["photoId"]] = photo
        for photo in [*recorded.photos][:DELETED]:
            _wait_for(client, photo, "completed")
            assert client.delete(f"/api/photos/{photo}").status_code == 204
            recorded.deleted.add(photo)
        for photo in recorded.deleted:
            folders = [
                system.data / "blobs" / kind / photo[:2] / photo
                for kind in ("originals", "renditions")
            ]
            wait_until(lambda folders=folders: not any(map(Path.exists, folders)), "it is erased")
        for photo in recorded.photos.keys() - recorded.deleted:
            _wait_for(client, photo, "completed")
    return recorded


def _wait_for(client: httpx.Client, photo: str, status: str) -> None:
    def has_it() -> bool:
        answer = client.get(f"/api/photos/{photo}")
        return answer.is_success and answer.json()["processingStatus"] == status

    wait_until(has_it, f"{photo} is {status}")


def test_every_promise_is_on_the_disk_at_every_sync_and_answer(
    recording: Recording,
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    points = recording.points()
    print(f"seed {seed}, {len(points)} points")
    disk = Disk(recording.top)
    answered: set[str] = set()
    done = 0
    wrong: list[str] = []

    for point in points:
        for step in recording.steps[done:point]:
            if step.call == "send":
                answered |= recording.answered_in(step)
            else:
                disk.do(step)
        done = point
        for _ in range(LOOKS):
            left = disk.cut(chance, chance.choice(KEPT))
            found = _promises_broken(recording, left, answered)
            wrong += [f"at {point}, after {recording.steps[point - 1].call}: {it}" for it in found]

    assert answered == recording.photos.keys()
    assert not wrong, "\n".join(wrong[:20])


def _promises_broken(recording: Recording, left: Left, answered: set[str]) -> list[str]:
    """Return photos that are missing or still there, by the bytes of the files alone."""
    files = DATA / "valkey" / FILES
    log = left.content(files / "appendonly.aof.1.incr.aof") or b""
    found: list[str] = []
    if answered and left.content(files / MANIFEST) is None:
        found.append("the log's manifest is gone")
    if answered and left.content(DATA / "secret") != recording.secret:
        found.append("the secret is gone")
    for photo in recording.photos:
        erased = re.search(rb"photo\.erased\r\n.{0,60}?" + photo.encode(), log, re.DOTALL)
        deleted = re.search(rb"photo\.deleted\r\n.{0,60}?" + photo.encode(), log, re.DOTALL)
        original = left.content(DATA / "blobs" / "originals" / photo[:2] / photo)
        if erased:
            found += [f"{path} is still there" for path in left.files if photo in str(path)]
        elif photo in answered:
            if not re.search(rb"photo\.uploaded\r\n.{0,60}?" + photo.encode(), log, re.DOTALL):
                found.append(f"{photo} is not in the log")
            if not deleted and original != recording.photos[photo]:
                found.append(f"the original of {photo} is gone or another")
    return found


async def test_the_log_loads_by_itself_after_a_power_cut(recording: Recording) -> None:
    for point, folder in _power_cuts(recording, LOADS):
        server = Valkey(folder / "top" / DATA / "valkey")
        with subprocess.Popen(server.prepare(), stdout=subprocess.DEVNULL) as process:
            redis = connect(server.url)
            try:
                with anyio.fail_after(PATIENCE_S):
                    while await server.state() != "ready":
                        assert process.poll() is None, server.last_words()
                        await anyio.sleep(0.01)
                log = await Log.open(redis)
                audited = await audit(log)
                found = {each.event.data.photo_id async for each in log.scan(0)}
            finally:
                await redis.aclose()
                process.kill()
                server.clean()

        assert audited.breaks == []
        assert recording.answered(point) <= found


def test_a_system_starts_by_itself_after_a_power_cut(recording: Recording) -> None:
    for point, folder in _power_cuts(recording, STARTS):
        _works(recording, folder, recording.answered(point))


def _power_cuts(recording: Recording, count: int) -> Generator[tuple[int, Path]]:
    """Cut the power at random steps; yield each step and a folder that holds what is left."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    disk = Disk(recording.top)
    done = 0
    for point in sorted(chance.sample(range(len(recording.steps)), count)):
        for step in recording.steps[done:point]:
            if step.call != "send":
                disk.do(step)
        done = point
        kept = chance.choice(KEPT)
        print(f"the power goes at step {point} of {len(recording.steps)}, kept {kept}")
        with tempfile.TemporaryDirectory(prefix="photolog-") as folder:
            disk.cut(chance, kept).write(Path(folder, "top"))
            yield point, Path(folder)


def _works(recording: Recording, folder: Path, answered: set[str]) -> None:
    data = folder / "top" / DATA
    with System(data, "--workers", "1", notes=folder, patience_s=PATIENCE_S) as system:
        headers = {"Authorization": recording.token} if answered else system.login()
        with httpx.Client(base_url=system.url, headers=headers, timeout=60) as client:
            new = client.post(
                "/api/photos/upload", files={"file": ("a.jpg", jpeg(f"{time.time_ns()}"))}
            )
            assert new.status_code == 201, new.text
            # The read model may be older than the log until it has what came last.
            known = {"after": new.headers["X-Log-Position"]}
            for photo in answered:
                history = client.get(f"/api/photos/{photo}/history", params=known)
                assert history.status_code == 200, (photo, history.text)
                kinds = [event["type"] for event in history.json()["items"]]
                assert kinds[0] == "photo.uploaded"
                if "photo.deleted" not in kinds:
                    original = client.get(f"/api/photos/{photo}/original")
                    assert original.content == recording.photos[photo]
                    _wait_for(client, photo, "completed")
            _wait_for(client, new.json()["photoId"], "completed")
        verified = system.photolog("verify", "--originals")
        assert verified.returncode == 0, verified.stdout + verified.stderr
