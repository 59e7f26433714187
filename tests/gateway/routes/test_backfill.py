import asyncio
from typing import Any

import httpx
import pytest

from domain.pipeline.stages import TREE
from store.queue.turns import ClaimRequest
from tests.gateway.conftest import Gateway, picture
from tests.gateway.processing import complete, fail, process, start
from tests.gateway.tasks import dispatch, events, lanes_of


async def backfill(gateway: Gateway, *, name: str = "operator", **body: Any) -> httpx.Response:
    json = {"stage": "placeholder", "run": "first"} | body
    return await gateway.client.post("/api/ops/backfill", json=json, headers=gateway.bearer(name))


async def processed(gateway: Gateway) -> dict[str, Any]:
    photo = (await gateway.upload()).json()
    await gateway.get("/api/photos", after=await process(gateway, photo))
    return photo


async def requested(gateway: Gateway, photo: dict[str, Any]) -> list[dict[str, Any]]:
    found = await events(gateway, photo)
    return [each["data"] for each in found if each["type"] == "photo.processing.requested"]


async def test_the_stage_is_run_over_all_photos_in_the_low_lane(gateway: Gateway) -> None:
    photos = [await processed(gateway) for _ in range(2)]

    answer = await backfill(gateway)

    assert answer.json() == {
        "requested": 2,
        "already": 0,
        "skipped": [],
        "nextCursor": None,
        "total": 2,
    }
    assert answer.headers["X-Log-Position"] == str(await gateway.log.end(0))
    for photo in photos:
        (job,) = await requested(gateway, photo)
        assert (job["pipeline"], job["priority"]) == ("backfill:placeholder", 10)
        assert job["done"] == ["thumbnails", "validation"]
    await dispatch(gateway)
    claimed = await (await lanes_of(gateway)).claim(0, 100, ClaimRequest(stages=("placeholder",)))
    assert {each.task.photo_id for each in claimed} == {photo["photoId"] for photo in photos}


async def test_a_new_run_brings_photos_of_an_older_version_along(gateway: Gateway) -> None:
    """Results of earlier runs do not count, whichever version made them."""
    photo = await processed(gateway)
    await backfill(gateway, stage="metadata", run="before-the-upgrade")
    (first,) = await requested(gateway, photo)
    await start(gateway, first)
    await gateway.get("/api/photos", after=await complete(gateway, first, "metadata"))

    answer = await backfill(gateway, stage="metadata", run="after-the-upgrade")

    assert answer.json()["requested"] == 1
    assert [each["pipeline"] for each in await requested(gateway, photo)] == [
        *("backfill:metadata", "backfill:metadata")
    ]


async def test_a_run_is_requested_page_by_page(gateway: Gateway) -> None:
    photos = [await processed(gateway) for _ in range(3)]

    first = (await backfill(gateway, limit=2)).json()
    second = (await backfill(gateway, limit=2, cursor=first["nextCursor"])).json()

    assert (first["requested"], first["total"]) == (2, 3)
    assert (second["requested"], second["total"], second["nextCursor"]) == (1, None, None)
    assert [len(await requested(gateway, photo)) for photo in photos] == [1, 1, 1]


async def test_repeating_a_call_requests_nothing_twice(gateway: Gateway) -> None:
    photo = await processed(gateway)
    await backfill(gateway)

    again = (await backfill(gateway)).json()

    assert (again["requested"], again["already"]) == (0, 1)
    assert len(await requested(gateway, photo)) == 1


async def test_two_concurrent_runs_request_each_photo_once(gateway: Gateway) -> None:
    photos = [await processed(gateway) for _ in range(3)]

    answers = [each.json() for each in await asyncio.gather(*(backfill(gateway) for _ in "ab"))]

    assert sum(each["requested"] for each in answers) == 3
    assert sum(each["already"] for each in answers) == 3
    assert [len(await requested(gateway, photo)) for photo in photos] == [1, 1, 1]


async def test_another_run_and_another_stage_are_separate_jobs(gateway: Gateway) -> None:
    photo = await processed(gateway)
    for body in ({}, {"run": "second"}, {"run": "second", "stage": "metadata"}):
        assert (await backfill(gateway, **body)).json()["requested"] == 1
        job = (await requested(gateway, photo))[-1]
        stages = {"metadata"} if "stage" in body else {"placeholder"}
        for stage in stages:
            done = await complete(gateway, {**photo, "jobId": job["jobId"]}, stage)
            await gateway.get("/api/photos", after=done)

    ids = [job["jobId"] for job in await requested(gateway, photo)]
    assert len(set(ids)) == 3
    assert (await backfill(gateway)).json()["already"] == 1
    assert len(await requested(gateway, photo)) == 3


async def test_running_and_failed_photos_are_skipped_and_listed(gateway: Gateway) -> None:
    running, failed = (await gateway.upload()).json(), (await gateway.upload()).json()
    await start(gateway, running)
    await gateway.get("/api/photos", after=await fail(gateway, failed))

    answer = (await backfill(gateway)).json()

    assert answer["requested"] == 0
    assert {each["photoId"]: each["code"] for each in answer["skipped"]} == {
        running["photoId"]: "job-running",
        failed["photoId"]: "job-failed",
    }


async def test_deleted_photos_are_ignored(gateway: Gateway) -> None:
    photo = await processed(gateway)
    await gateway.client.delete(f"/api/photos/{photo['photoId']}")
    end = str(await gateway.log.end(0))
    await gateway.get("/api/photos", after=end)

    answer = (await backfill(gateway)).json()

    assert (answer["requested"], answer["skipped"], answer["total"]) == (0, [], 0)


async def test_a_new_stage_of_the_tree_needs_no_change_here(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await processed(gateway)
    monkeypatch.setitem(TREE, "faces", "thumbnails")

    answer = await backfill(gateway, stage="faces")

    assert answer.json()["requested"] == 1
    queues = (await gateway.get("/api/ops/queues", name="operator")).json()["stages"]
    assert "faces" in [each["stage"] for each in queues]


@pytest.mark.parametrize("name", ["alice", "auditor"])
async def test_only_operators_backfill(gateway: Gateway, name: str) -> None:
    photo = await processed(gateway)

    answer = await backfill(gateway, name=name)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert await requested(gateway, photo) == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"stage": "faces"}, 404, "unknown-stage"),
        ({"stage": "erasure"}, 404, "unknown-stage"),
        ({"run": ""}, 400, "invalid-request"),
        ({"run": "a:b"}, 400, "invalid-request"),
        ({"run": None}, 400, "invalid-request"),
        ({"limit": 0}, 400, "invalid-request"),
        ({"limit": 201}, 400, "invalid-limit"),
        ({"cursor": "x"}, 400, "invalid-cursor"),
    ],
)
async def test_an_invalid_request_is_rejected(
    shared_gateway: Gateway, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await backfill(shared_gateway, **body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_duplicate_after_a_backfill_is_the_existing_photo(
    gateway: Gateway,
) -> None:
    data = picture()
    photo = (await gateway.upload(data)).json()
    await gateway.get("/api/photos", after=await process(gateway, photo))
    await backfill(gateway)
    (job,) = await requested(gateway, photo)
    await complete(gateway, photo | {"jobId": job["jobId"]}, "placeholder")

    again = await gateway.upload(data)

    assert again.status_code == 200
    assert (again.json()["photoId"], again.json()["status"]) == (photo["photoId"], "completed")
