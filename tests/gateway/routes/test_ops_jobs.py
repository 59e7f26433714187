"""Jobs as operators see them."""

from typing import Any

import pytest

from tests.gateway.conftest import Gateway
from tests.gateway.processing import complete, fail, process
from tests.gateway.tasks import claim, dispatch, events, lanes_of

JOBS = "/api/ops/jobs"


async def test_a_job_is_found_by_each_of_its_marks(gateway: Gateway) -> None:
    done = (await gateway.upload(sessionId="trip")).json()
    await process(gateway, done)
    failed = (await gateway.upload(name="bob")).json()
    end = failed["position"]
    page = (await gateway.get(JOBS, name="auditor", after=end)).json()

    one = next(each for each in page["items"] if each["jobId"] == done["jobId"])
    assert (one["photoId"], one["clientId"], one["sessionId"]) == (done["photoId"], "alice", "trip")
    assert one["status"] == "completed"
    for query in (
        f"photoId={done['photoId']}",
        "clientId=alice",
        "sessionId=trip",
        f"traceId={one['traceId']}",
        "state=completed",
        "clientId=alice&state=completed&from=2020-01-01&to=2999-01-01",
    ):
        found = (await gateway.get(f"{JOBS}?{query}", name="operator")).json()
        assert [each["jobId"] for each in found["items"]] == [done["jobId"]], query
    assert (await gateway.get(f"{JOBS}?to=2020-01-01", name="operator")).json()["items"] == []


async def test_the_story_of_a_failed_job_tells_why(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    end = await fail(gateway, photo)

    answer = await gateway.get(f"{JOBS}/{photo['jobId']}", name="auditor", after=end)

    story = answer.json()
    assert story["job"]["status"] == "failed"
    (only,) = story["attempts"]
    assert (only["stage"], only["outcome"], only["code"]) == ("validation", "failed", "truncated")
    assert (only["startedAt"], only["durationMs"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("state=dead", "invalid-request"),
        ("state=null", "invalid-request"),
        ("jobId=1", "invalid-request"),
        ("from=yesterday", "invalid-time"),
        ("cursor=x", "invalid-cursor"),
        ("limit=100000", "invalid-limit"),
        ("limit=1e1", "invalid-request"),
        ("clientId=a&clientId=b", "invalid-request"),
    ],
)
async def test_a_bad_query_is_rejected(shared_gateway: Gateway, query: str, code: str) -> None:
    answer = await shared_gateway.get(f"{JOBS}?{query}", name="operator")

    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_hostile_values_find_nothing(gateway: Gateway) -> None:
    end = (await gateway.upload()).json()["position"]
    for name in ("photoId", "clientId", "sessionId", "traceId"):
        path = f"{JOBS}?{name}=%27%20OR%201%3D1%20--"
        found = await gateway.get(f"{path}&after={end}", name="operator")
        assert found.json() == {"items": [], "nextCursor": None}


async def test_clients_see_neither_list_nor_story(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()

    for path in (JOBS, f"{JOBS}/{photo['jobId']}"):
        assert (await gateway.get(path)).json()["code"] == "forbidden"


async def test_an_unknown_job_is_not_found(gateway: Gateway) -> None:
    end = (await gateway.upload()).json()["position"]

    answer = await gateway.get(f"{JOBS}/none", name="operator", after=end)

    assert (answer.status_code, answer.json()["code"]) == (404, "job-not-found")


REASON = {"reason": "a bad batch"}

ACTIONS: list[tuple[str, Any]] = [("run-now", None), ("retry", {}), ("cancel", REASON)]


async def act(gateway: Gateway, job_id: str, action: str, body: Any, name: str = "operator") -> Any:
    return await gateway.client.post(
        f"{JOBS}/{job_id}/{action}", json=body, headers=gateway.bearer(name)
    )


@pytest.mark.parametrize("name", ["alice", "auditor"])
@pytest.mark.parametrize(("action", "body"), ACTIONS)
async def test_only_operators_act_on_jobs(
    gateway: Gateway, action: str, body: Any, name: str
) -> None:
    photo = (await gateway.upload()).json()
    end = await gateway.log.end(0)

    answer = await act(gateway, photo["jobId"], action, body, name)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert await gateway.log.end(0) == end


@pytest.mark.parametrize(("action", "body"), ACTIONS)
async def test_an_action_on_an_unknown_job_is_rejected(
    shared_gateway: Gateway, action: str, body: Any
) -> None:
    assert (await act(shared_gateway, "none", action, body)).json()["code"] == "job-not-found"


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("cancel", {}),
        ("cancel", {"reason": ""}),
        ("cancel", {"reason": "x" * 501}),
        ("cancel", {"reason": "x", "force": True}),
        ("retry", {"priority": 11}),
        ("retry", {"priority": "1"}),
        ("retry", []),
        ("run-now", {"at": "now"}),
    ],
)
async def test_a_bad_body_is_rejected(gateway: Gateway, action: str, body: Any) -> None:
    photo = (await gateway.upload()).json()

    answer = await act(gateway, photo["jobId"], action, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


async def test_a_cancelled_job_fails_once_with_actor_and_reason(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await dispatch(gateway)

    first = (await act(gateway, photo["jobId"], "cancel", REASON)).json()
    again = (await act(gateway, photo["jobId"], "cancel", REASON)).json()

    assert (first["cancelled"], again["cancelled"]) == (True, False)
    failed, ended = (await events(gateway, photo))[-2:]
    assert (failed["data"]["code"], failed["data"]["error"]) == ("cancelled", "a bad batch")
    assert ended["type"] == "photo.processing.failed"
    assert ended["metadata"]["actor"] == "operator:operator"


async def test_a_worker_that_takes_the_task_of_a_cancelled_job_records_nothing(
    gateway: Gateway,
) -> None:
    photo = (await gateway.upload()).json()
    await act(gateway, photo["jobId"], "cancel", REASON)
    end = await gateway.log.end(0)

    await complete(gateway, photo, "validation")

    assert await gateway.log.end(0) == end


async def test_a_job_that_a_worker_runs_is_not_cancelled(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await dispatch(gateway)
    await claim(gateway, "worker-1")

    answer = await act(gateway, photo["jobId"], "cancel", REASON)

    assert (answer.status_code, answer.json()["code"]) == (409, "job-running")


async def test_a_failed_job_is_retried_once(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await fail(gateway, photo)

    first = await act(gateway, photo["jobId"], "retry", {"priority": 1})
    again = await act(gateway, photo["jobId"], "retry", {"priority": 1})

    assert first.json()["jobId"] == again.json()["jobId"] != photo["jobId"]
    requested = [
        each
        for each in await events(gateway, photo)
        if each["type"] == "photo.processing.requested"
    ]
    assert [each["data"]["priority"] for each in requested] == [1]


async def test_a_job_that_is_not_the_last_is_not_retried(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await fail(gateway, photo)
    second = (await act(gateway, photo["jobId"], "retry", {})).json()
    await fail(gateway, {**photo, "jobId": second["jobId"]})
    await act(gateway, second["jobId"], "retry", {})

    answer = await act(gateway, photo["jobId"], "retry", {})

    assert (answer.status_code, answer.json()["code"]) == (409, "nothing-failed")


async def test_a_delayed_retry_is_due_at_once_and_only_once(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    other = (await gateway.upload()).json()
    for each in (photo, other):
        await fail(gateway, each, retry_at="2999-01-01T00:00:00.000Z")
    await dispatch(gateway)

    first = (await act(gateway, photo["jobId"], "run-now", REASON)).json()
    again = (await act(gateway, photo["jobId"], "run-now", None)).json()
    moved, _ = await (await lanes_of(gateway)).promote(0)

    assert (first["moved"], again["moved"], moved) == (1, 0, 1)
    assert again["position"] is None
    last = (await events(gateway, photo))[-1]
    assert (last["id"], last["type"]) == (first["position"], "photo.processing.hurried")
    assert last["data"]["reason"] == "a bad batch"
    assert last["metadata"]["actor"] == "operator:operator"
    audited = (await gateway.get("/api/audit", name="auditor", after=last["id"])).json()["items"]
    assert (audited[0]["what"], audited[0]["reason"]) == (last["type"], "a bad batch")
    story = (await gateway.get(f"{JOBS}/{photo['jobId']}", name="auditor")).json()
    assert story["attempts"][-1]["dueAt"] == last["timestamp"]


async def test_running_a_job_that_has_ended_is_no_change(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await fail(gateway, photo)
    end = await gateway.log.end(0)

    answer = await act(gateway, photo["jobId"], "run-now", REASON)

    assert (answer.status_code, answer.json()["moved"]) == (200, 0)
    assert await gateway.log.end(0) == end
