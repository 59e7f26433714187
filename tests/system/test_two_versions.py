"""Workers and gateways of two versions, of which one has a new stage, in both orders of an upgrade.

Invariant: the stages of a job are those of the version that recorded its beginning. Each is done
once, and then the job is completed, whoever planned or recorded what; a stage that no live worker
runs waits without using an attempt, and health names it.
"""

import signal
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import httpx
import pytest

from domain.pipeline.stages import TREE
from store.log.log import Log
from store.redis.connection import connect
from tests.ops.guides.recipes import apply, copy_repository, recipe
from tests.servers import valkey
from tests.system.versions import DEADLINE_S, STAGE, Version, Versions, upload

ONCE = Counter(TREE.keys())
WITH_NEW = ONCE + Counter([STAGE])


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the stage of the recipe."""
    folder = tmp_path_factory.mktemp("newer")
    copy_repository(folder)
    apply(folder, recipe("A stage"))
    return folder


@pytest.fixture
async def versions(newer: Path, own_folder: Path, tmp_path: Path) -> AsyncGenerator[Versions]:
    data = tmp_path / "data"
    data.mkdir()
    with valkey(own_folder) as url:
        client = connect(url)
        running = Versions(await Log.open(client), url, newer, data)
        try:
            await running.start("projector", "newer")
            yield running
        finally:
            running.stop_all()
            await client.aclose()


async def unserved(http: httpx.AsyncClient) -> dict[str, int]:
    pool = (await http.get("/health")).json()["checks"]["workerPool"]
    return pool.get("unserved", {})


async def until_unserved(http: httpx.AsyncClient, expected: dict[str, int]) -> None:
    """Wait until health names these stages; ten times what a worker may be silent is enough."""
    with anyio.fail_after(DEADLINE_S):
        while await unserved(http) != expected:
            await anyio.sleep(0.1)


async def test_a_new_stage_waits_for_a_worker_that_runs_it_and_health_says_so(
    versions: Versions,
) -> None:
    await versions.start("worker", "older")
    async with versions.gateway("newer") as http:
        photo = await upload(http)
        await versions.until(photo, set(TREE))

        await until_unserved(http, {STAGE: 1})
        health = (await http.get("/health")).json()["checks"]["workerPool"]
        await versions.start("worker", "newer")
        await versions.until_completed(photo)
        await until_unserved(http, {})

    assert health["status"] == "degraded"
    assert f"no worker runs {STAGE} (1 task waits)" in health["reason"]
    assert await versions.stages(photo) == WITH_NEW
    assert await versions.failures(photo) == []


@pytest.mark.parametrize("first", ["older", "newer"])
async def test_both_versions_complete_each_job_once_though_workers_are_killed(
    versions: Versions, first: Version
) -> None:
    second: Version = "newer" if first == "older" else "older"
    async with versions.gateway("newer") as http:
        begun = await versions.start("worker", first)
        photos = [await upload(http) for _ in range(6)]
        await versions.until(photos[0], {"validation"})
        other = await versions.start("worker", second)
        photos += [await upload(http) for _ in range(6)]
        await versions.until(photos[6], {"validation"})
        for role in (begun, other):
            role.end(signal.SIGKILL)
            role.stop()
            role.start()
        for photo in photos:
            await versions.until_completed(photo)

    for photo in photos:
        assert await versions.stages(photo) == WITH_NEW
        assert await versions.failures(photo) == []


async def test_jobs_of_an_older_gateway_end_without_the_new_stage_and_a_backfill_runs_it(
    versions: Versions,
) -> None:
    await versions.start("worker", "newer")
    await versions.start("worker", "older")
    async with versions.gateway("older") as http:
        photos = [await upload(http) for _ in range(4)]
        for photo in photos:
            await versions.until_completed(photo)
            assert await versions.stages(photo) == ONCE

    async with versions.gateway("newer") as http:
        with anyio.fail_after(DEADLINE_S):  # the read model may be behind
            while await backfilled(http) < len(photos):
                await anyio.sleep(0.1)
        for photo in photos:
            await versions.until_completed(photo, jobs=2)
            assert await versions.stages(photo) == WITH_NEW


async def backfilled(http: httpx.AsyncClient) -> int:
    """Request the stage for all photos, in one run; return for how many it has been requested."""
    answer = await http.post("/api/ops/backfill", json={"stage": STAGE, "run": "one"})
    assert answer.is_success, answer.text
    return answer.json()["requested"] + answer.json()["already"]


async def test_after_going_back_health_names_the_stage_and_its_jobs_can_be_cancelled(
    versions: Versions,
) -> None:
    async with versions.gateway("newer") as http:
        photos = [await upload(http) for _ in range(2)]
    await versions.start("worker", "older")

    async with versions.gateway("older") as http:
        for photo in photos:
            await versions.until(photo, set(TREE))
        await until_unserved(http, {STAGE: 2})
        (begun,) = [
            each["jobId"]
            for each in await versions.events(photos[0])
            if each["type"] == "photo.uploaded"
        ]
        cancelled = await http.post(f"/api/ops/jobs/{begun}/cancel", json={"reason": "went back"})
        assert cancelled.is_success, cancelled.text
        newer = await versions.start("worker", "newer")
        await versions.until_completed(photos[1])
        await until_unserved(http, {})
        newer.stop()

    assert await versions.stages(photos[0]) == ONCE
    assert await versions.stages(photos[1]) == WITH_NEW
