"""One client's bulk leaves room for others in a worker's hand, and in its decoders."""

from collections import Counter

import anyio
import pytest

from handlers.stage import Output
from handlers.worker.hand import SLOW_CLIENTS, SLOW_MS, Hand
from handlers.worker.worker import WorkerSettings
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from tests.handlers.pictures import encoded, gradient
from tests.handlers.workers import (
    DEADLINE_S,
    Scripted,
    Working,
    types_when_ended,
    uploaded,
)
from tests.store.queue.test_turns import task
from tests.system.photos import jpeg

HALF = WorkerSettings(concurrency=10, client_concurrency=5)
SLOW_S = 2 * SLOW_MS / 1000


def hand_with(*clients: str, cost_ms: int = 100) -> Hand:
    hand = Hand(3)
    for number, client in enumerate(clients):
        hand.take(("lane", str(number)), 0, task(client, cost_ms=cost_ms))
    return hand


def passed_over(hand: Hand) -> list[str]:
    return list(hand.request(0, ("validation",)).without)


async def test_a_client_that_has_its_share_of_the_hand_is_passed_over() -> None:
    assert passed_over(hand_with("a", "a", "a", "b")) == ["a"]


async def test_a_client_with_a_slow_task_gets_no_other_once_enough_tasks_are_slow() -> None:
    hand = hand_with("a", "a", "b", cost_ms=SLOW_MS + 1)
    hand.take(("lane", "quick"), 0, task("c"))

    assert passed_over(hand) == ["a", "b"]
    assert passed_over(hand_with("a", "b", cost_ms=SLOW_MS + 1)) == []


async def test_a_client_counts_as_slow_from_a_slow_photo_until_a_quick_one() -> None:
    hand = hand_with("a", "b", "c")
    for number in range(3):
        hand.settle(("lane", str(number)), SLOW_S)

    assert passed_over(hand) == ["a", "b", "c"]
    hand.settle(("lane", "0"), 0.1)
    assert passed_over(hand) == []


async def test_a_client_with_nothing_in_hand_is_never_passed_over() -> None:
    hand = hand_with("a", "a", "b", "b", "c", "c", cost_ms=SLOW_MS + 1)
    hand.take(("lane", "done"), 0, task("visitor"))
    hand.settle(("lane", "done"), SLOW_S)
    hand.drop(("lane", "done"))

    assert passed_over(hand) == ["a", "b", "c"]


async def test_one_claim_settles_what_clients_owe() -> None:
    hand = hand_with("a", "a")
    hand.settle(("lane", "0"), 1.5)
    hand.settle(("lane", "1"), 0.05)

    assert hand.request(0, ("validation",)).settle == {("normal", "a"): 1_350}
    assert hand.request(0, ("validation",)).settle == {}


async def test_only_so_many_slow_clients_are_remembered() -> None:
    hand = Hand(1)
    count = 2 * SLOW_CLIENTS
    for number in range(count):
        hand.take(("lane", str(number)), 0, task(f"client-{number:03}"))
        hand.settle(("lane", str(number)), SLOW_S)
        hand.drop(("lane", str(number)))

    assert len(hand._slow) == SLOW_CLIENTS  # pyright: ignore[reportPrivateUsage]


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


async def test_a_photo_is_processed_while_another_client_has_its_full_share_of_the_hand(
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
        held = [photo for _, photo in pool.ran if photo in pool.kept]
        pool.let_go.set()
        for each in bulk:
            await types_when_ended(log, each.photo_id, client_id="bulk")

    assert types[-1] == "photo.processing.completed"
    assert len(held) == 5


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
