"""Cancel the waiting tasks of a stage, or wait for the running ones."""

import anyio
import pytest

from domain.pipeline.stages import TREE
from gateway.http.limits import Limits
from store.log.control import ControlLog
from store.queue import liveness
from tests.gateway.conftest import Gateway
from tests.gateway.routes.test_queues import REASON, ask, look, stage
from tests.gateway.tasks import claim, dispatch, events, lanes_of, pipeline_events

DEADLINE_S = 20.0


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, linger_s=2.0, cancel_at_once=2)


async def follow(gateway: Gateway, worker: str = "worker-1") -> None:
    """Report for the worker that it follows the controls as they are now."""
    steered = await ControlLog(gateway.log).load()
    await liveness.report_following(gateway.log, worker, steered.version, before=None)


class TestCancel:
    async def test_a_call_cancels_a_limited_number_and_returns_how_many_remain(
        self, gateway: Gateway
    ) -> None:
        uploads = [(await gateway.upload()).json() for _ in range(3)]
        await dispatch(gateway)

        first = await ask(gateway, "POST", "validation/cancel", REASON)
        second = await ask(gateway, "POST", "validation/cancel", REASON)

        assert first.json() == {"stage": "validation", "cancelled": 2, "remaining": 1}
        assert second.json() == {"stage": "validation", "cancelled": 1, "remaining": 0}
        assert second.headers["X-Log-Position"] == str(await gateway.log.end(0))
        for photo in uploads:
            last = (await events(gateway, photo))[-1]
            assert last["type"] == "photo.processing.failed"
            assert last["metadata"]["actor"] == "operator:operator"
            assert (last["data"]["code"], last["data"]["error"]) == ("cancelled", "a bad batch")
        cancelled = {
            "type": "pipeline.cancelled",
            "actor": "operator:operator",
            "stage": "validation",
        }
        assert await pipeline_events(gateway) == [
            cancelled | {"tasks": 2} | REASON,
            cancelled | {"tasks": 1} | REASON,
        ]

    async def test_cancelling_all_stages_spares_erasures(self, gateway: Gateway) -> None:
        kept, deleted = (await gateway.upload()).json(), (await gateway.upload()).json()
        await gateway.client.delete(f"/api/photos/{deleted['photoId']}")
        await dispatch(gateway)

        answer = await ask(gateway, "POST", "all/cancel", REASON)

        assert answer.json() == {"stage": "all", "cancelled": 1, "remaining": 0}
        assert (await events(gateway, kept))[-1]["type"] == "photo.processing.failed"
        assert (await stage(gateway, "erasure"))["waiting"] == 1

    async def test_cancelling_an_empty_queue_records_nothing(self, gateway: Gateway) -> None:
        answer = await ask(gateway, "POST", "all/cancel", REASON)

        assert answer.json() == {"stage": "all", "cancelled": 0, "remaining": 0}
        assert "X-Log-Position" not in answer.headers
        assert await pipeline_events(gateway) == []

    @pytest.mark.parametrize(
        "body", [None, {}, {"reason": ""}, {"reason": "x" * 501}, {"why": "x"}]
    )
    async def test_it_needs_a_reason(
        self, shared_gateway: Gateway, body: dict[str, str] | None
    ) -> None:
        answer = await ask(shared_gateway, "POST", "validation/cancel", body)

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


class TestDrain:
    async def test_a_stage_is_idle_once_its_running_tasks_have_ended(
        self, gateway: Gateway
    ) -> None:
        await gateway.upload()
        await gateway.upload()
        await dispatch(gateway)
        running = await claim(gateway, "worker-1")

        begun = await ask(gateway, "POST", "validation/drain")
        await follow(gateway)
        during = await stage(gateway, fresh=True)
        await (await lanes_of(gateway, "worker-1")).release([running.claim])
        ended = (await ask(gateway, "GET", "validation/drain")).json()
        after = await stage(gateway, fresh=True)

        answer = begun.json()
        assert begun.headers["X-Log-Position"] == answer["position"]
        assert (answer["paused"], answer["idle"], answer["running"]) == (True, False, 1)
        (worker,) = answer["workers"]
        assert (worker["name"], len(worker["doing"])) == ("worker-1", 1)
        assert (during["state"], after["state"]) == ("draining", "paused")
        assert (ended["idle"], ended["running"], ended["workers"]) == (True, 0, [])
        assert after["waiting"] == 2
        assert [each["type"] for each in await pipeline_events(gateway)] == ["pipeline.paused"]

    async def test_it_is_not_idle_before_every_worker_follows_the_pause(
        self, gateway: Gateway
    ) -> None:
        await follow(gateway, "worker-1")
        await follow(gateway, "worker-2")

        await ask(gateway, "POST", "all/drain")
        await follow(gateway, "worker-2")
        early = (await ask(gateway, "GET", "all/drain")).json()
        states = {each["state"] for each in (await look(gateway))["stages"]}
        await follow(gateway, "worker-1")
        late = (await ask(gateway, "GET", "all/drain")).json()

        assert (early["running"], early["idle"], early["unaware"]) == (0, False, ["worker-1"])
        assert states == {"draining"}
        assert (late["idle"], late["unaware"]) == (True, [])

    async def test_another_stage_may_run_on(self, gateway: Gateway) -> None:
        await gateway.upload()
        await dispatch(gateway)
        await claim(gateway, "worker-1")
        await ask(gateway, "POST", "metadata/drain")
        await follow(gateway)

        drained = (await ask(gateway, "GET", "metadata/drain")).json()

        assert (drained["idle"], drained["running"]) == (True, 0)
        states = {each["stage"]: each["state"] for each in (await look(gateway))["stages"]}
        assert {name for name in TREE if states[name] == "running"} == {*TREE} - {"metadata"}

    async def test_a_request_waits_until_the_stage_is_idle(self, gateway: Gateway) -> None:
        await gateway.upload()
        await dispatch(gateway)
        running = await claim(gateway, "worker-1")
        await ask(gateway, "POST", "validation/drain")
        await follow(gateway)
        answers: list[bool] = []

        async def wait() -> None:
            answer = await ask(gateway, "GET", "validation/drain?seconds=20")
            answers.append(answer.json()["idle"])

        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                assert (await ask(gateway, "GET", "validation/drain")).json()["idle"] is False
                await (await lanes_of(gateway, "worker-1")).release([running.claim])

        assert answers == [True]

    async def test_the_time_out_answers_that_it_is_not_idle(self, gateway: Gateway) -> None:
        await gateway.upload()
        await dispatch(gateway)
        await claim(gateway, "worker-1")
        await ask(gateway, "POST", "validation/drain")

        answer = await ask(gateway, "GET", "validation/drain?seconds=1")

        assert (answer.status_code, answer.json()["idle"]) == (200, False)

    async def test_a_resumed_stage_is_answered_at_once_and_is_not_idle(
        self, gateway: Gateway
    ) -> None:
        await ask(gateway, "POST", "validation/drain")
        await ask(gateway, "POST", "validation/resume")

        with anyio.fail_after(DEADLINE_S):
            answer = (await ask(gateway, "GET", "validation/drain?seconds=30")).json()

        assert (answer["paused"], answer["idle"]) == (False, False)
        assert (await stage(gateway))["state"] == "running"

    async def test_health_names_the_stages_that_are_not_idle_yet(self, gateway: Gateway) -> None:
        await gateway.upload()
        await dispatch(gateway)
        await claim(gateway, "worker-1")
        await ask(gateway, "POST", "validation/drain")
        await ask(gateway, "POST", "metadata/drain")
        await follow(gateway)

        check = (await gateway.get("/health")).json()["checks"]["workerPool"]

        assert (check["paused"], check["draining"]) == (["metadata", "validation"], ["validation"])

    async def test_auditors_may_wait_and_clients_may_not(self, gateway: Gateway) -> None:
        path = "validation/drain"

        assert (await ask(gateway, "GET", path, name="auditor")).status_code == 200
        assert (await ask(gateway, "GET", path, name="alice")).json()["code"] == "forbidden"

    async def test_a_reason_is_recorded_and_cancels_nothing(self, gateway: Gateway) -> None:
        """Until version 0.1, this request cancelled the waiting tasks."""
        await gateway.upload()
        await dispatch(gateway)

        answer = await ask(gateway, "POST", "validation/drain", REASON)

        assert answer.status_code == 200
        (pause,) = await pipeline_events(gateway)
        assert (pause["type"], pause["reason"]) == ("pipeline.paused", REASON["reason"])
        assert (await claim(gateway)).task.stage == "validation"

    @pytest.mark.parametrize("path", ["faces/drain", "faces/drain?seconds=5"])
    async def test_an_unknown_stage_is_rejected(self, shared_gateway: Gateway, path: str) -> None:
        answer = await ask(shared_gateway, "GET", path)

        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-stage")

    @pytest.mark.parametrize("seconds", ["31", "-1", "1e1", "x"])
    async def test_an_invalid_time_is_rejected(self, shared_gateway: Gateway, seconds: str) -> None:
        answer = await ask(shared_gateway, "GET", f"validation/drain?seconds={seconds}")

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
