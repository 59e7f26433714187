"""Run roles of two versions on one log: the newer one has the stage of the guide's recipe."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx
import msgspec

from gateway.http.auth import SCOPES
from ops.config.settings import Settings
from ops.runtime.tokens import mint
from store.log.log import Log
from tests.ops.systems import jpeg
from tests.ports import free_ports
from tests.system.hosts import SECRET
from tests.system.processes import READY_S, Role

STAGE = "average_colour"
TOKEN_S = 24 * 3600.0
DEADLINE_S = 60.0
LOOK_EVERY_S = 0.05
COMPLETED = "photo.processing.completed"
STAGE_COMPLETED = "photo.processing.stage.completed"

Version = Literal["older", "newer"]


class Versions:
    """Starts and stops roles of either version, which share a log, blobs and a read model.

    ``newer`` is a copy of the repository with the recipe in it; ``data`` an empty folder.
    """

    def __init__(self, log: Log, url: str, newer: Path, data: Path) -> None:
        self.log = log
        self._newer = newer
        self._data = data
        self._roles: dict[str, Role] = {}
        self._environment = {
            "PHOTOLOG_DATA": str(data),
            "PHOTOLOG_REDIS_URL": url,
            "PHOTOLOG_SECRET": SECRET,
            "PHOTOLOG_RESERVE_BYTES": "0",
            "PHOTOLOG_DECODERS": "1",
            "PHOTOLOG_STALLED_AFTER_S": "2",
        }

    async def start(self, kind: str, version: Version, **settings: str) -> Role:
        """Start a role, named after its kind and version, and wait until it is ready."""
        name = f"{kind}-{version}"
        environment = self._environment | settings
        if version == "newer":
            environment["PYTHONPATH"] = str(self._newer)
        role = self._roles[name] = Role(kind, name, environment, self._data / f"{name}.log")
        role.start()
        await role.ready()
        return role

    @asynccontextmanager
    async def gateway(self, version: Version) -> AsyncGenerator[httpx.AsyncClient]:
        """Run a gateway while the block runs; yield a client that is an operator with photos."""
        (port,) = free_ports(1)
        role = await self.start("gateway", version, PHOTOLOG_PORT=str(port))
        settings = Settings(data=str(self._data), secret=SECRET)
        token = mint(settings, "alice", "operator", TOKEN_S, SCOPES)
        try:
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=30,
                trust_env=False,
            ) as http:
                with anyio.fail_after(READY_S):
                    while True:
                        with suppress(httpx.TransportError):
                            if (await http.get("/health/ready")).is_success:
                                break
                        await anyio.sleep(LOOK_EVERY_S)
                yield http
        finally:
            role.stop()

    def stop_all(self) -> None:
        for role in self._roles.values():
            role.stop()

    async def events(self, photo_id: str) -> list[dict[str, Any]]:
        """Return type and data of the photo's events, as they are stored."""
        stored = [msgspec.msgpack.decode(each.body) async for each in self.log.scan(0)]
        found = [{"type": each["type"], **each["data"]} for each in stored]
        return [each for each in found if each.get("photoId") == photo_id]

    async def until(self, photo_id: str, done: set[str]) -> None:
        """Wait until these stages of the photo are done."""
        with anyio.fail_after(DEADLINE_S):
            while not done <= {*await self.stages(photo_id)}:
                await anyio.sleep(LOOK_EVERY_S)

    async def until_completed(self, photo_id: str, jobs: int = 1) -> None:
        """Wait until so many jobs of the photo are completed."""
        with anyio.fail_after(DEADLINE_S):
            while (await self.types(photo_id))[COMPLETED] < jobs:
                await anyio.sleep(LOOK_EVERY_S)

    async def stages(self, photo_id: str) -> Counter[str]:
        """Count how often each stage is recorded as done."""
        events = await self.events(photo_id)
        return Counter(each["stage"] for each in events if each["type"] == STAGE_COMPLETED)

    async def failures(self, photo_id: str) -> list[str]:
        """Return the codes of all failures of the photo's jobs."""
        return [each["code"] for each in await self.events(photo_id) if "code" in each]

    async def types(self, photo_id: str) -> Counter[str]:
        return Counter(each["type"] for each in await self.events(photo_id))


async def upload(http: httpx.AsyncClient) -> str:
    """Upload a new picture; return the photo's id."""
    answer = await http.post("/api/photos/upload", files={"file": ("a.jpg", jpeg())})
    assert answer.status_code == 201, answer.text
    return answer.json()["photoId"]
