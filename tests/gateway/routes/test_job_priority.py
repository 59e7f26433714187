"""``PUT /api/ops/jobs/{id}/priority``."""

from typing import Any

import httpx
import pytest

from domain.pipeline.stages import TREE, Task
from store.log import codec
from store.queue import of_job
from store.queue.turns import ClaimRequest
from tests.gateway.conftest import Gateway
from tests.gateway.processing import complete, fail, process
from tests.gateway.tasks import claim, dispatch, events, lanes_of


async def prioritize(
    gateway: Gateway, photo: dict[str, Any], body: Any, name: str = "operator"
) -> httpx.Response:
    path = f"/api/ops/jobs/{photo['jobId']}/priority"
    return await gateway.client.put(path, json=body, headers=gateway.bearer(name))


async def test_a_waiting_task_moves_to_the_lane_of_its_priority(gateway: Gateway) -> None:
    first, photo = [(await gateway.upload()).json() for _ in range(2)]
    await dispatch(gateway)

    answers = [await prioritize(gateway, photo, {"priority": 1, "reason": "the press"})]
    answers.append(await prioritize(gateway, photo, {"priority": 1}))

    assert [each.json()["moved"] for each in answers] == [1, 0]
    assert answers[0].json()["priority"] == 1
    taken = [await claim(gateway) for _ in range(2)]
    assert [each.task.photo_id for each in taken] == [photo["photoId"], first["photoId"]]
    assert taken[0].task.priority == 1
    assert await (await lanes_of(gateway)).claim(0, 5) == []
    recorded = [
        each["data"]
        for each in await events(gateway, photo)
        if each["type"] == "photo.processing.prioritized"
    ]
    assert [(each["priority"], each["reason"]) for each in recorded] == [(1, "the press")]


async def test_an_admitted_task_moves_too(gateway: Gateway) -> None:
    other, photo = [(await gateway.upload()).json() for _ in range(2)]
    await dispatch(gateway)
    assert (await claim(gateway)).task.photo_id == other["photoId"]  # this admits both

    assert (await prioritize(gateway, photo, {"priority": 10})).json()["moved"] == 1

    assert (await claim(gateway)).task.priority == 10
    assert await (await lanes_of(gateway)).claim(0, 5) == []


async def test_a_held_task_stays_and_later_stages_follow(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await dispatch(gateway)
    await claim(gateway)

    assert (await prioritize(gateway, photo, {"priority": 2})).json()["moved"] == 0

    await complete(gateway, photo, "validation")
    await dispatch(gateway)
    claimed = await (await lanes_of(gateway)).claim(0, 5)
    assert {each.task.priority for each in claimed} == {2}
    listed = await gateway.get(f"/api/ops/jobs/{photo['jobId']}", name="auditor")
    assert listed.json()["job"]["priority"] == 2


async def test_a_delayed_task_enters_the_other_lane_when_it_is_due(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await fail(gateway, photo, retry_at="2020-01-01T00:00:00.000Z")
    await dispatch(gateway)
    assert (await claim(gateway)).task.attempt == 1

    assert (await prioritize(gateway, photo, {"priority": 1})).json()["moved"] == 1

    lanes = await lanes_of(gateway)
    assert (await lanes.promote(0))[0] == 1
    (again,) = await lanes.claim(0, 5)
    assert (again.task.attempt, again.task.priority) == (2, 1)
    assert "stage:validation:high" in again.claim.lane_key


async def fill(gateway: Gateway, stage: str, count: int) -> None:
    """Add tasks of other jobs to the normal lane of the stage."""
    key = gateway.log.keys.lane(0, stage, "normal")
    redis: Any = gateway.log.redis
    for n in range(count):
        task = Task(
            photo_id=f"other-{n}",
            client_id="bob",
            job_id=f"other-{n}",
            stage=stage,
            priority=5,
            trace_id="t",
            cause="0:1-0",
        )
        await redis.xadd(key, {"b": codec.encode_task(task)})


async def test_a_task_behind_earlier_tasks_is_found(gateway: Gateway) -> None:
    await lanes_of(gateway)
    await fill(gateway, "validation", 600)
    photo = (await gateway.upload()).json()
    await dispatch(gateway)

    answer = (await prioritize(gateway, photo, {"priority": 1})).json()

    assert (answer["moved"], answer["complete"]) == (1, True)


async def test_the_answer_says_if_a_lane_was_too_long_to_search(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_job, "MOST_READ", 500)
    await lanes_of(gateway)
    photo = (await gateway.upload()).json()
    await fill(gateway, "validation", 600)
    await dispatch(gateway)

    answer = (await prioritize(gateway, photo, {"priority": 1})).json()

    assert (answer["moved"], answer["complete"]) == (0, False)


async def test_a_stage_that_this_version_does_not_know_moves_too(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = (await gateway.upload()).json()
    await gateway.get("/api/photos", after=await process(gateway, photo))
    with monkeypatch.context() as of_another_version:
        of_another_version.setitem(TREE, "faces", "validation")
        body = {"stage": "faces", "run": "first"}
        await gateway.client.post(
            "/api/ops/backfill", json=body, headers=gateway.bearer("operator")
        )
        lanes = await lanes_of(gateway)
        await dispatch(gateway)
    job_id = (await events(gateway, photo))[-1]["data"]["jobId"]

    answer = await prioritize(gateway, photo | {"jobId": job_id}, {"priority": 1})

    assert answer.json()["moved"] == 1
    claimed = await lanes.claim(0, 5, ClaimRequest(stages=("faces",)))
    assert ["stage:faces:high" in each.claim.lane_key for each in claimed] == [True]


async def test_an_ended_job_is_rejected(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await fail(gateway, photo)

    answer = await prioritize(gateway, photo, {"priority": 1})

    assert (answer.status_code, answer.json()["code"]) == (409, "job-ended")


@pytest.mark.parametrize(
    "body", [{}, {"priority": 0}, {"priority": 11}, {"priority": 5, "reason": ""}, {"lane": "high"}]
)
async def test_a_bad_body_is_rejected(gateway: Gateway, body: Any) -> None:
    photo = (await gateway.upload()).json()

    assert (await prioritize(gateway, photo, body)).json()["code"] == "invalid-request"


@pytest.mark.parametrize("name", ["alice", "auditor"])
async def test_only_operators_change_it(gateway: Gateway, name: str) -> None:
    photo = (await gateway.upload()).json()

    assert (await prioritize(gateway, photo, {"priority": 1}, name)).json()["code"] == "forbidden"
