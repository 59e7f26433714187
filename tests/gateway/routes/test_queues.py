import asyncio
from typing import Any

import httpx
import pytest

from domain.pipeline.control_events import Limit, Rate
from domain.pipeline.stages import ERASURE, TREE
from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway
from tests.gateway.listeners import following
from tests.gateway.processing import fail
from tests.gateway.tasks import claim, dispatch, pipeline_events

QUEUES = "/api/ops/queues"
REASON = {"reason": "a bad batch"}

CHANGES = [
    ("POST", "validation/pause", None),
    ("POST", "validation/resume", None),
    ("POST", "validation/cancel", REASON),
    ("POST", "validation/drain", None),
    ("PUT", "validation/limits", {"concurrency": 1}),
]


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, linger_s=2.0, cancel_at_once=2)


async def ask(
    gateway: Gateway, method: str, path: str, body: Any = None, *, name: str = "operator"
) -> httpx.Response:
    return await gateway.client.request(
        method, f"{QUEUES}/{path}", json=body, headers=gateway.bearer(name)
    )


async def look(gateway: Gateway, after: str | None = None) -> dict[str, Any]:
    answer = await gateway.get(QUEUES, name="operator", after=after)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def stage(
    gateway: Gateway, name: str = "validation", *, fresh: bool = False
) -> dict[str, Any]:
    """Return the view of a stage; a ``fresh`` one is not that of an earlier request."""
    after = str(await gateway.log.end(0)) if fresh else None
    return next(each for each in (await look(gateway, after))["stages"] if each["stage"] == name)


async def test_the_stages_come_in_the_order_of_the_tree_and_erasure_last(gateway: Gateway) -> None:
    found = await look(gateway)

    assert [each["stage"] for each in found["stages"]] == [*TREE, ERASURE]
    assert (found["allPaused"], found["concurrency"], found["workers"]) == (False, None, [])
    assert found["stages"][0] == {
        "stage": "validation",
        "lanes": {
            lane: {"waiting": 0, "clients": 0, "inProgress": 0, "oldestAgeMs": None, "added": 0}
            for lane in ("high", "normal", "low")
        },
        "waiting": 0,
        "inProgress": 0,
        "delayed": 0,
        "oldestAgeMs": None,
        "added": 0,
        "taken": 0,
        "inPerS": 0.0,
        "outPerS": 0.0,
        "paused": False,
        "pausedUntil": None,
        "state": "running",
        "limit": {"concurrency": None, "rate": None},
        "deadLetters": 0,
    }


async def test_the_backlog_the_workers_and_the_failures_are_shown(gateway: Gateway) -> None:
    urgent = (await gateway.upload(priority="1")).json()
    await gateway.upload(priority="9")
    failed = (await gateway.upload(priority="9")).json()
    end = await fail(gateway, failed)
    await dispatch(gateway)
    await claim(gateway, "worker-1")

    found = await look(gateway, after=end)

    validation = found["stages"][0]
    assert (validation["waiting"], validation["inProgress"]) == (2, 1)
    assert (validation["added"], validation["taken"]) == (3, 0)
    assert validation["lanes"]["low"]["waiting"] == 2
    assert validation["lanes"]["high"]["inProgress"] == 1
    assert 0 <= validation["oldestAgeMs"] < 60_000
    assert validation["deadLetters"] == 1
    (worker,) = [each for each in found["workers"] if each["doing"]]
    assert worker["name"] == "worker-1"
    assert worker["doing"][0]["photoId"] == urgent["photoId"]
    assert worker["doing"][0]["stage"] == "validation"


async def test_the_clients_of_a_paused_stage_are_counted(gateway: Gateway) -> None:
    await ask(gateway, "POST", "all/pause")
    for name in ("alice", "bob", "bob"):
        await gateway.upload(name=name)
    await dispatch(gateway)

    lane = (await stage(gateway))["lanes"]["normal"]

    assert (lane["waiting"], lane["clients"]) == (3, 2)


@pytest.mark.parametrize("name", ["alice", "auditor"])
@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_only_operators_control_queues(
    shared_gateway: Gateway, method: str, path: str, body: Any, name: str
) -> None:
    answer = await ask(shared_gateway, method, path, body, name=name)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert await pipeline_events(shared_gateway) == []


async def test_auditors_may_look_and_clients_may_not(gateway: Gateway) -> None:
    assert (await gateway.get(QUEUES, name="auditor")).status_code == 200
    assert (await gateway.get(QUEUES, name="alice")).json()["code"] == "forbidden"


async def test_a_pause_is_an_event_with_its_actor_and_position(gateway: Gateway) -> None:
    answer = await ask(gateway, "POST", "metadata/pause")

    held = answer.json()
    assert answer.status_code == 200
    assert answer.headers["X-Log-Position"] == held["position"] == str(await gateway.log.end(0))
    assert (held["stage"], held["paused"]) == ("metadata", True)
    assert (await stage(gateway, "metadata"))["paused"]
    assert not (await stage(gateway, "thumbnails"))["paused"]
    (event,) = await pipeline_events(gateway)
    assert (event["type"], event["actor"]) == ("pipeline.paused", "operator:operator")
    assert (event["stage"], event["until"], event["reason"]) == ("metadata", None, "")


async def test_operators_actions_appear_only_in_the_global_room(
    gateway: Gateway,
) -> None:
    async with (
        following(gateway, "global", name="operator") as everything,
        following(gateway, "client") as own,
    ):
        await ask(gateway, "POST", "metadata/pause")
        photo = (await gateway.upload()).json()

        (pause, _), (upload,) = await everything.take(2), await own.take(1)

    assert (pause.data["type"], pause.data["data"]) == ("pipeline.paused", {"stage": "metadata"})
    assert upload.data["data"]["photoId"] == photo["photoId"]


async def test_two_concurrent_pauses_are_one_event(gateway: Gateway) -> None:
    first, *others = await asyncio.gather(
        *(ask(gateway, "POST", "metadata/pause") for _ in range(5))
    )

    assert all(each.json() == first.json() for each in others)
    assert len(await pipeline_events(gateway)) == 1


async def test_all_stages_are_paused_and_resumed_together(gateway: Gateway) -> None:
    paused = (await ask(gateway, "POST", "all/pause")).json()
    while_paused = await look(gateway)
    alone = await ask(gateway, "POST", "metadata/resume")
    resumed = (await ask(gateway, "POST", "all/resume")).json()

    assert (paused["stage"], paused["paused"], resumed["paused"]) == ("all", True, False)
    assert while_paused["allPaused"]
    assert all(each["paused"] for each in while_paused["stages"])
    assert (alone.status_code, alone.json()["code"]) == (409, "pipeline-paused")
    assert not any(each["paused"] for each in (await look(gateway))["stages"])


async def test_erasures_can_be_paused_but_not_cancelled(gateway: Gateway) -> None:
    assert (await ask(gateway, "POST", "erasure/pause")).json()["paused"]
    refused = await ask(gateway, "POST", "erasure/cancel", REASON)

    assert (refused.status_code, refused.json()["code"]) == (404, "unknown-stage")


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_an_unknown_stage_is_rejected(
    shared_gateway: Gateway, method: str, path: str, body: Any
) -> None:
    answer = await ask(shared_gateway, method, path.replace("validation", "faces"), body)

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-stage")


class TestLimits:
    async def test_both_limits_are_set_together_and_null_removes_one(
        self, gateway: Gateway
    ) -> None:
        both = {"concurrency": 2, "rate": {"max": 10, "durationMs": 500}}

        first = await ask(gateway, "PUT", "metadata/limits", both)
        shown = (await stage(gateway, "metadata"))["limit"]
        second = await ask(gateway, "PUT", "metadata/limits", {"concurrency": 2, "rate": None})

        assert first.json()["limit"] == shown == both
        assert second.json()["limit"] == {"concurrency": 2, "rate": None}
        limit = Limit(concurrency=2, rate=Rate(max=10, duration_ms=500))
        assert [each["limit"] for each in await pipeline_events(gateway)] == [
            limit,
            Limit(concurrency=2),
        ]

    async def test_all_stages_share_a_concurrency_and_have_no_rate(self, gateway: Gateway) -> None:
        answer = await ask(gateway, "PUT", "all/limits", {"concurrency": 5})
        refused = await ask(gateway, "PUT", "all/limits", {"rate": {"max": 1}})

        assert answer.json()["limit"]["concurrency"] == 5
        assert (await look(gateway))["concurrency"] == 5
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid-limit-setting")

    @pytest.mark.parametrize(
        "body",
        [
            {"concurrency": 0},
            {"concurrency": "many"},
            {"concurency": 1},
            {"rate": {"max": 0}},
            {"rate": {"max": 1, "duration": 5}},
            {"rate": {"max": 1, "durationMs": 0}},
            {"rate": 10},
            [],
        ],
    )
    async def test_an_invalid_limit_is_rejected(self, shared_gateway: Gateway, body: Any) -> None:
        answer = await ask(shared_gateway, "PUT", "metadata/limits", body)

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
        assert await pipeline_events(shared_gateway) == []
