"""The append of a result dispatches what the result leads to, and may keep it for its worker."""

from collections.abc import Callable

import msgspec
import pytest

from domain.moments import iso
from domain.photo.commands import (
    RecordStageCompleted,
    RecordStageFailed,
    StartProcessing,
    UploadPhoto,
)
from domain.photo.plan import plan
from domain.pipeline.failures import Category
from domain.pipeline.stages import Task, all_stages
from store.log import codec
from store.log.log import Log
from store.log.outcome import Appended
from store.queue.consumers import Entries
from store.queue.dispatch import Dispatch
from store.queue.follow_ups import FollowUps
from store.queue.lanes import Claimed, Lanes
from store.queue.turns import GRACE_MS, ClaimRequest
from store.redis.connection import Wait
from tests.conftest import CONTEXT, home, one_and_three
from tests.store.commands import upload
from tests.store.waiting import NEVER_IDLE_MS

pytestmark = one_and_three

AFTER_VALIDATION = ["metadata", "thumbnails", "optimization"]


def every(_: Task) -> bool:
    return True


class Working:
    """A worker's ways to the log, one step at a time."""

    def __init__(self, log: Log, consumer: str) -> None:
        self.log = log
        self.lanes = Lanes(log, consumer, all_stages())
        self.dispatch = Dispatch(log, consumer)
        self._follow_ups = FollowUps(log, consumer)

    async def prepare(self) -> None:
        for partition in range(self.log.partitions):
            await self.lanes.prepare(partition)
            await self.dispatch.prepare(partition)

    async def upload(self, *, client_id: str = "alice", priority: int = 5) -> UploadPhoto:
        command = msgspec.structs.replace(upload(), client_id=client_id, priority=priority)
        await self.log.execute(command, client_id=client_id, context=CONTEXT)
        return command

    async def plan(self, client_id: str = "alice") -> int:
        """Dispatch what waits for a dispatcher; return how many events that were."""
        events = await self.dispatch.read(home(self.log, client_id), count=100, block_ms=10)
        await self.dispatch.commit([(r.position, plan(r.event, str(r.position))) for r in events])
        return len(events)

    async def claim(self, *stages: str, client_id: str = "alice") -> list[Claimed]:
        request = ClaimRequest(stages=stages or self.lanes.stages)
        return await self.lanes.claim(home(self.log, client_id), 10, request)

    async def complete(
        self, claimed: Claimed, *, may_keep: Callable[[Task], bool] = every
    ) -> tuple[Claimed, ...]:
        """Record the result of the task, and return the tasks that the worker holds then."""
        task = claimed.task
        follow_up = self._follow_ups.of(task.client_id, may_keep)
        outcome = await self.log.execute(
            RecordStageCompleted(
                photo_id=task.photo_id,
                job_id=task.job_id,
                stage=task.stage,
                attempt=task.attempt,
                duration_ms=1,
                result={},
            ),
            client_id=task.client_id,
            context=CONTEXT,
            claim=claimed.claim,
            planner=follow_up,
        )
        assert isinstance(outcome, Appended)
        return follow_up.kept(outcome, claimed.clients)


@pytest.fixture
async def worker(log: Log) -> Working:
    worker = Working(log, "one")
    await worker.prepare()
    return worker


async def validation(worker: Working, client_id: str = "alice") -> Claimed:
    """Upload a photo, and return its first task."""
    await worker.upload(client_id=client_id)
    await worker.plan(client_id)
    [claimed] = await worker.claim("validation", client_id=client_id)
    return claimed


def stages(claimed: "tuple[Claimed, ...] | list[Claimed]") -> list[str]:
    return [each.task.stage for each in claimed]


async def test_the_worker_holds_what_its_result_leads_to(log: Log, worker: Working) -> None:
    kept = await worker.complete(await validation(worker))

    assert stages(kept) == AFTER_VALIDATION
    assert await worker.lanes.refresh([each.claim for each in kept]) == [True, True, True]
    assert await worker.claim() == []
    assert await worker.plan() == 0


async def test_a_kept_task_is_the_one_that_a_dispatcher_would_plan(
    log: Log, worker: Working
) -> None:
    kept = await worker.complete(await validation(worker))

    recorded = [each async for each in log.scan(home(log))][-1]
    planned = plan(recorded.event, str(recorded.position))
    assert tuple(each.task for each in kept) == planned
    for each in kept:
        found = await log.redis.xrange(each.claim.lane_key)
        [(_, fields)] = msgspec.convert(found, Entries)
        assert fields[b"b"] == codec.encode_task(each.task)


async def test_a_result_counts_for_a_kept_task_and_leads_on(log: Log, worker: Working) -> None:
    kept = await worker.complete(await validation(worker))
    for each in kept:
        kept += await worker.complete(each)
    [placeholder] = kept[len(AFTER_VALIDATION) :]

    assert placeholder.task.stage == "placeholder"
    assert await worker.complete(placeholder) == ()
    assert [each.event.type async for each in log.scan(home(log))][-1] == (
        "photo.processing.completed"
    )
    assert await worker.plan() == 0


async def test_a_kept_task_of_a_dead_worker_is_taken_over_at_once(
    log: Log, worker: Working
) -> None:
    dead = Working(log, "host:1:aaaa")
    kept = await dead.complete(await validation(dead))

    taken = await worker.lanes.abandoned(home(log), idle_ms=NEVER_IDLE_MS, dead="host:1:")

    assert sorted(stages(taken)) == sorted(stages(kept))
    assert {each.deliveries for each in taken} == {1}


async def test_a_kept_task_stalls_only_once_it_was_begun(log: Log, worker: Working) -> None:
    begun, *others = await worker.complete(await validation(worker))
    heir, last = Working(log, "two"), Working(log, "three")

    assert await worker.lanes.begin(begun)
    first = await heir.lanes.abandoned(home(log), idle_ms=0, dead=None)
    second = await last.lanes.abandoned(home(log), idle_ms=0, dead=None)

    for taken in (first, second):
        found = {each.task.stage: each.deliveries for each in taken}
        assert found == dict.fromkeys(stages(others), 1) | {begun.task.stage: 2}
    assert [await each.lanes.begin(second[0]) for each in (worker, heir, last)] == [
        *(False, False, True),
    ]


async def test_a_kept_task_whose_reply_was_lost_is_recalled(log: Log, worker: Working) -> None:
    kept = await worker.complete(await validation(worker))

    recalled = await worker.lanes.recall(home(log))

    assert {each.claim for each in recalled} == {each.claim for each in kept}
    assert {each.deliveries for each in recalled} == {1}


async def test_tasks_that_may_not_be_kept_wait_for_any_worker(log: Log, worker: Working) -> None:
    kept = await worker.complete(
        await validation(worker), may_keep=lambda task: task.stage == "metadata"
    )
    other = Working(log, "two")

    assert stages(kept) == ["metadata"]
    assert await other.plan() == 0
    assert sorted(stages(await other.claim())) == ["optimization", "thumbnails"]


async def test_an_event_behind_one_that_waits_for_a_dispatcher_waits_with_it(
    log: Log, worker: Working
) -> None:
    first = await validation(worker)
    await worker.upload()

    assert await worker.complete(first) == ()
    assert await worker.claim() == []
    assert await worker.plan() == 2
    assert sorted(stages(await worker.claim())) == sorted([*AFTER_VALIDATION, "validation"])


async def test_events_without_tasks_are_passed_over_too(log: Log, worker: Working) -> None:
    task = (await validation(worker)).task
    follow_up = FollowUps(log, "one").of(task.client_id, every)

    await log.execute(
        StartProcessing(photo_id=task.photo_id, job_id=task.job_id),
        client_id=task.client_id,
        context=CONTEXT,
        planner=follow_up,
    )

    assert await worker.plan() == 0


async def test_a_retry_is_left_to_a_dispatcher(log: Log, worker: Working) -> None:
    claimed = await validation(worker)
    task = claimed.task

    outcome = await log.execute(
        RecordStageFailed(
            photo_id=task.photo_id,
            job_id=task.job_id,
            stage=task.stage,
            attempt=1,
            category=Category.TEMPORARY,
            code="busy",
            error="busy",
            retry_at=iso(await log.now()),
        ),
        client_id=task.client_id,
        context=CONTEXT,
        claim=claimed.claim,
        planner=FollowUps(log, "one").of(task.client_id, every),
    )

    assert isinstance(outcome, Appended)
    assert outcome.task_ids == ()
    assert await worker.plan() == 1


async def test_the_lag_of_the_dispatchers_counts_what_the_append_has_dispatched(
    log: Log, worker: Working
) -> None:
    await worker.complete(await validation(worker))

    [group] = await log.redis.xinfo_groups(log.keys.log(home(log)))
    assert (group["lag"], group["pending"]) == (0, 0)


async def test_a_client_that_was_served_less_goes_first(log: Log, worker: Working) -> None:
    claimed = await validation(worker)
    # In the client's partition, whoever else's that is.
    visitor = msgspec.structs.replace(claimed.task, photo_id="other", client_id="visitor")
    lane_key = claimed.claim.lane_key
    for _ in range(2):
        await log.redis.xadd(lane_key, {"b": codec.encode_task(visitor)})
    settle = {("normal", "alice"): 2 * GRACE_MS}
    request = ClaimRequest(stages=("validation",), settle=settle)
    [first] = await worker.lanes.claim(home(log), 1, request)

    assert first.task.client_id == "visitor"
    assert await worker.complete(claimed) == ()
    [second] = await worker.lanes.claim(home(log), 1)
    assert second.task.client_id == "visitor"


async def test_a_client_that_was_served_less_goes_before_one_that_waits_for_more(
    log: Log, worker: Working
) -> None:
    claimed = await validation(worker)
    # In the client's partition, whoever else's that is.
    more = msgspec.structs.replace(claimed.task, photo_id="more", cost_ms=4 * GRACE_MS)
    visitor = msgspec.structs.replace(claimed.task, photo_id="other", client_id="visitor")
    for each in (more, more, visitor):
        await log.redis.xadd(claimed.claim.lane_key, {"b": codec.encode_task(each)})
    settle = {("normal", "visitor"): 2 * GRACE_MS}
    request = ClaimRequest(stages=("validation",), settle=settle)
    [first] = await worker.lanes.claim(home(log), 1, request)

    assert first.task.client_id == "alice"
    assert await worker.complete(claimed) == ()
    [second] = await worker.lanes.claim(home(log), 1)
    assert second.task.client_id == "visitor"


async def test_a_begun_photo_is_finished_before_others_begin(log: Log, worker: Working) -> None:
    claimed = await validation(worker)
    other = msgspec.structs.replace(claimed.task, photo_id="other", client_id="visitor")
    for _ in range(2):
        await log.redis.xadd(claimed.claim.lane_key, {"b": codec.encode_task(other)})
    await worker.lanes.claim(home(log), 1, ClaimRequest(stages=("validation",)))

    assert stages(await worker.complete(claimed)) == AFTER_VALIDATION


@pytest.mark.parametrize("priority", [1, 9], ids=["more urgent", "less urgent"])
async def test_no_task_is_kept_while_one_of_another_class_waits(
    log: Log, worker: Working, priority: int
) -> None:
    claimed = await validation(worker)
    await worker.upload(priority=priority)
    await worker.plan()
    assert await worker.claim("metadata") == []  # which admits all

    assert await worker.complete(claimed) == ()
    assert await worker.plan() == 0
    assert sorted(stages(await worker.claim())) == sorted([*AFTER_VALIDATION, "validation"])


async def test_lost_turns_are_noticed_while_a_task_is_kept_that_no_claim_has_passed(
    log: Log, worker: Working
) -> None:
    one, other = await validation(worker), await validation(worker)
    await worker.complete(one, may_keep=lambda task: task.stage != "metadata")
    assert await worker.claim("placeholder") == []  # which admits the other stages
    assert "metadata" in stages(await worker.complete(other))
    await log.redis.delete(log.keys.waiting(home(log), "metadata", "normal"))

    await worker.lanes.prepare(home(log))

    [found] = await worker.claim("metadata")
    assert found.task.photo_id == one.task.photo_id


@pytest.mark.parametrize("spoiled", ["lane", "turns", "accounts"])
async def test_a_spoiled_key_stops_neither_the_result_nor_its_tasks(
    log: Log, worker: Working, spoiled: str
) -> None:
    claimed = await validation(worker)
    partition = home(log)
    key = {
        "lane": log.keys.lane(partition, "metadata", "normal"),
        "turns": log.keys.turns(partition, "metadata", "normal"),
        "accounts": log.keys.accounts(partition, "normal"),
    }[spoiled]
    await log.redis.delete(key)
    await log.redis.set(key, "spoiled")

    kept = await worker.complete(claimed)
    await worker.lanes.prepare(partition)
    await worker.plan()

    found = stages((*kept, *await worker.claim()))
    assert sorted(found) == sorted(AFTER_VALIDATION)


async def test_without_dispatchers_the_events_wait_for_the_first(log: Log) -> None:
    worker = Working(log, "one")
    for partition in range(log.partitions):
        await worker.lanes.prepare(partition)
    command = await worker.upload()
    [first] = [each async for each in log.scan(home(log))]
    [task] = plan(first.event, str(first.position))
    key = log.keys.lane(home(log), "validation", "normal")
    await log.redis.xadd(key, {"b": codec.encode_task(task)})
    [claimed] = await worker.claim()
    assert claimed.task.photo_id == command.photo_id

    assert await worker.complete(claimed) == ()
    await worker.prepare()
    assert await worker.plan() == 2


async def test_where_appends_wait_for_disks_a_dispatcher_waits_for_them(
    log: Log, worker: Working
) -> None:
    events = [each.event async for each in log.scan(home(log))]
    safe = Log(log.redis, log_id=log.log_id, partitions=log.partitions, keys=log.keys, wait=Wait())

    assert FollowUps(log, "one").of("alice", every)(events) is not None
    assert FollowUps(safe, "one").of("alice", every)(events) is None
