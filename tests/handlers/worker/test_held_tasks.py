"""One client's bulk leaves room for others among a worker's tasks, and in its decoders."""

from collections import Counter
from typing import Any

import anyio
import pytest

from handlers.stage import Output
from handlers.worker.held_tasks import (
    KEPT_MS,
    PACE_TASKS,
    SLOW_CLIENTS,
    SLOW_MS,
    HeldTask,
    HeldTasks,
)
from handlers.worker.settings import WorkerSettings
from store.blobs.folder import FolderBlobs
from store.log.log import Claim, Log
from store.queue.lanes import Claimed, Lanes
from tests.handlers.pictures import encoded, gradient
from tests.handlers.workers import (
    DEADLINE_S,
    Scripted,
    Working,
    types_when_ended,
    uploaded,
)
from tests.store.queue.test_turns import task
from tests.store.waiting import dispatched
from tests.system.photos import jpeg

HALF = WorkerSettings(concurrency=10, client_concurrency=5)
SLOW_S = 2 * SLOW_MS / 1000


def delivered(client: str, entry_id: str, *, cost_ms: int = 100) -> Claimed:
    claim = Claim(lane_key="lane", group="validation", entry_id=entry_id, consumer="one")
    return Claimed(task=task(client, cost_ms=cost_ms), claim=claim)


def run(held: HeldTasks, client: str, entry_id: str, *, cost_ms: int = 100) -> HeldTask:
    """Hold a task and give it a slot."""
    started = held.hold(0, delivered(client, entry_id, cost_ms=cost_ms))
    assert started is not None
    held.start(started)
    return started


def held_by(*clients: str, cost_ms: int = 100) -> HeldTasks:
    held = HeldTasks(3)
    for number, client in enumerate(clients):
        run(held, client, str(number), cost_ms=cost_ms)
    return held


def passed_over(held: HeldTasks) -> list[str]:
    left = held.request(0, {"validation": 3}).most_of_client
    return [client for client, most in left.items() if most == 0]


async def test_a_held_task_that_is_delivered_again_stays_as_it_is() -> None:
    held = HeldTasks(3)
    first = run(held, "a", "0")

    assert held.hold(0, delivered("a", "0")) is None
    assert first.redelivered
    assert (held.running(), held.ready()) == ([first], [])


async def test_held_tasks_wait_for_a_slot_in_the_order_in_which_they_came() -> None:
    held = HeldTasks(3)
    one, two = held.hold(0, delivered("a", "0")), held.hold(1, delivered("b", "1"))
    assert one is not None
    assert held.ready() == [one, two]

    held.start(one)
    assert held.ready() == [two]
    assert {partition: len(claims) for partition, claims in held.claims().items()} == {0: 1, 1: 1}


async def test_a_task_without_a_slot_does_not_count_towards_its_clients_share() -> None:
    held = held_by("a", "a")
    held.hold(0, delivered("a", "ready"))

    assert passed_over(held) == []


async def test_a_client_that_has_its_share_of_the_tasks_is_passed_over() -> None:
    assert passed_over(held_by("a", "a", "a", "b")) == ["a"]


async def test_a_client_with_a_slow_task_gets_no_other_once_enough_tasks_are_slow() -> None:
    held = held_by("a", "a", "b", cost_ms=SLOW_MS + 1)
    run(held, "c", "quick")

    assert passed_over(held) == ["a", "b"]
    assert passed_over(held_by("a", "b", cost_ms=SLOW_MS + 1)) == []


async def test_a_client_counts_as_slow_from_a_slow_photo_until_a_quick_one() -> None:
    held = held_by("a", "b", "c")
    for each in held.running():
        held.settle(each, SLOW_S)

    assert passed_over(held) == ["a", "b", "c"]
    held.settle(held.running()[0], 0.1)
    assert passed_over(held) == []


async def test_a_client_without_a_task_is_never_passed_over() -> None:
    held = held_by("a", "a", "b", "b", "c", "c", cost_ms=SLOW_MS + 1)
    done = run(held, "visitor", "done")
    held.settle(done, SLOW_S)
    held.release(done)

    assert passed_over(held) == ["a", "b", "c"]


async def test_a_client_may_have_the_rest_of_its_share_in_one_claim() -> None:
    request = held_by("a", "a", "b").request(0, {"validation": 3})

    assert (request.most_of_client, request.most_of_each) == ({"a": 1, "b": 2}, 3)


async def test_one_claim_takes_one_task_while_any_client_is_slow() -> None:
    assert held_by("a", "b").at_once(4) == 4
    assert held_by("a", "b", cost_ms=SLOW_MS + 1).at_once(4) == 1

    remembered = held_by("a")
    remembered.settle(remembered.running()[0], SLOW_S)
    assert remembered.at_once(4) == 1


async def test_one_claim_fills_all_slots(
    log: Log, blobs: FolderBlobs, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, claims = Lanes.claim, list[int]()

    async def counted(lanes: Lanes, *args: Any) -> list[Claimed]:
        found = await claim(lanes, *args)
        claims.append(len(found))
        return found

    monkeypatch.setattr(Lanes, "claim", counted)
    pool = Holding()
    bulk = [await uploaded(log, blobs, jpeg(f"{n}"), client_id="bulk") for n in range(24)]
    pool.kept = {each.photo_id for each in bulk}
    await dispatched(log)

    async with working(pool=pool, settings=HALF):
        with anyio.fail_after(DEADLINE_S):
            while len(pool.ran) < 5:
                await anyio.sleep(0.01)
        pool.let_go.set()

    assert next(filter(None, claims)) == 5


async def test_one_claim_settles_what_clients_owe() -> None:
    held = held_by("a", "a")
    one, two = held.running()
    held.settle(one, 1.5)
    held.settle(two, 0.05)

    assert held.request(0, {"validation": 3}).settle == {("normal", "a"): 1_350}
    assert held.request(0, {"validation": 3}).settle == {}


async def test_a_client_pays_for_a_kept_task_with_the_next_claim() -> None:
    held = HeldTasks(3)

    assert held.keep(0, delivered("a", "0", cost_ms=300))
    assert not held.keep(0, delivered("a", "0", cost_ms=300))
    [kept] = held.ready()
    held.start(kept)
    held.settle(kept, 0.5)

    assert held.request(0, {"metadata": 3}).settle == {("normal", "a"): 500}


async def test_a_kept_task_waits_while_its_client_has_its_share() -> None:
    held = held_by("a", "a", "a")
    held.keep(0, delivered("a", "kept"))
    held.keep(0, delivered("b", "other"))
    of_a, of_b = held.ready()

    assert held.next_ready({"validation"}) is of_b
    assert held.held_up() == []
    held.release(held.running()[0])
    assert held.next_ready({"validation"}) is of_a
    assert held.next_ready({"metadata"}) is None


async def test_a_kept_task_behind_slow_ones_of_its_client_is_held_up() -> None:
    held = held_by("a", "a", "b", cost_ms=SLOW_MS + 1)
    held.keep(0, delivered("a", "kept"))
    held.keep(0, delivered("c", "other"))

    assert [each.task.client_id for each in held.held_up()] == ["a"]


async def test_few_kept_tasks_wait_for_a_slot() -> None:
    held = HeldTasks(None)
    for number in range(KEPT_MS // 250):
        assert held.may_keep(task("a", cost_ms=250))
        held.keep(0, delivered("a", str(number), cost_ms=250))

    assert not held.may_keep(task("a", cost_ms=1))
    held.start(held.ready()[0])
    assert held.may_keep(task("a", cost_ms=1))


async def test_more_kept_tasks_wait_on_a_machine_that_needs_less_time_than_expected() -> None:
    held = HeldTasks(None)
    held.keep(0, delivered("a", "kept", cost_ms=KEPT_MS))
    assert not held.may_keep(task("a"))

    for number in range(PACE_TASKS):
        done = run(held, "a", str(number), cost_ms=100)
        held.settle(done, 0.05)
        held.release(done)

    assert held.may_keep(task("a"))


async def test_no_slow_task_is_kept() -> None:
    held = held_by("a")
    held.settle(held.running()[0], SLOW_S)

    assert not held.may_keep(task("a"))
    assert not held.may_keep(task("b", cost_ms=SLOW_MS + 1))
    assert held.may_keep(task("b"))


async def test_only_so_many_slow_clients_are_remembered() -> None:
    held = HeldTasks(1)
    for number in range(2 * SLOW_CLIENTS):
        each = run(held, f"client-{number:03}", str(number))
        held.settle(each, SLOW_S)
        held.release(each)

    assert len(held._slow) == SLOW_CLIENTS  # pyright: ignore[reportPrivateUsage]


class Holding(Scripted):
    """A pool that holds the tasks of the photos in ``kept`` until ``let_go``."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: set[str] = set()
        self.let_go = anyio.Event()

    async def run(self, *, stage: str, affinity: str, **rest: object) -> Output:
        if affinity in self.kept:
            self.ran.append((stage, affinity))
            await self.let_go.wait()
        return await super().run(stage=stage, affinity=affinity, **rest)


async def test_a_photo_is_processed_while_another_client_has_its_full_share_of_the_tasks(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Holding()
    bulk = [await uploaded(log, blobs, jpeg(f"{n}"), client_id="bulk") for n in range(24)]
    pool.kept = {each.photo_id for each in bulk}

    async with working(pool=pool, settings=HALF):
        with anyio.fail_after(DEADLINE_S):
            while len(pool.ran) < 5:
                await anyio.sleep(0.01)
        visitor = await uploaded(log, blobs, jpeg("visitor"), client_id="visitor")
        types = await types_when_ended(log, visitor.photo_id, client_id="visitor")
        begun = [photo for _, photo in pool.ran if photo in pool.kept]
        pool.let_go.set()
        for each in bulk:
            await types_when_ended(log, each.photo_id, client_id="bulk")

    assert types[-1] == "photo.processing.completed"
    assert len(begun) == 5


async def test_a_lone_client_has_the_decoders_to_itself(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Holding()
    bulk = [await uploaded(log, blobs, jpeg(f"{n}"), client_id="bulk") for n in range(6)]
    pool.kept = {each.photo_id for each in bulk}

    async with working(pool=pool, settings=WorkerSettings(concurrency=4)):
        with anyio.fail_after(DEADLINE_S):
            while len(pool.ran) < 4:
                await anyio.sleep(0.01)
        pool.let_go.set()
        for each in bulk:
            await types_when_ended(log, each.photo_id, client_id="bulk")


@pytest.mark.parametrize("priority", [1, 5])
async def test_a_small_photo_is_processed_while_most_expensive_ones_before_it_wait(
    log: Log, blobs: FolderBlobs, working: Working, priority: int
) -> None:
    large = encoded(gradient(4_000, 3_000), "JPEG")
    bulk = [
        await uploaded(log, blobs, large + f"{n:04}".encode(), client_id="bulk", priority=priority)
        for n in range(24)
    ]
    visitor = await uploaded(log, blobs, jpeg("visitor"), client_id="visitor", priority=priority)

    async with working(settings=HALF):
        await types_when_ended(log, visitor.photo_id, client_id="visitor")
        ended = Counter(
            [
                each.event.data.photo_id
                async for each in log.scan(0)
                if each.event.type == "photo.processing.completed"
            ]
        )

    assert ended[visitor.photo_id] == 1
    assert len(ended) <= len(bulk) // 2
