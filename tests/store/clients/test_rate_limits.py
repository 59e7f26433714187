"""Token buckets on real servers, shared by several processes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from store.clients import rate_limits
from store.clients.rate_limits import LEASE_PART, LEASE_S, Bucket, Buckets, Table
from store.log.log import Log
from store.redis.connection import connect
from tests.clocks import Clock
from tests.conftest import one_and_three
from tests.servers import process_of, url_in, valkey

HOUR_S = 3_600
DEADLINE_S = 10.0


@pytest.fixture(autouse=True)
def server_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no process continue without Redis, however long it has to wait for the processor."""
    monkeypatch.setattr(rate_limits, "ANSWER_S", DEADLINE_S)


@asynccontextmanager
async def sharing(log: Log, clock: Clock | None = None) -> AsyncGenerator[Buckets]:
    """The buckets of one of several processes."""
    buckets = Buckets(log, clock=clock) if clock else Buckets(log)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(buckets.run)
        await anyio.lowlevel.checkpoint()
        yield buckets
        tasks.cancel_scope.cancel()


def bucket(log: Log, capacity: int, window_s: int = HOUR_S, name: str = "requests") -> Bucket:
    return Table(name, capacity, window_s, log).of("client:alice", "alice")


async def spent(buckets: Buckets, of: Bucket, cost: int = 1, *, at_most: int = 10_000) -> int:
    """Return how often ``cost`` tokens can be taken."""
    times = 0
    while times < at_most and await buckets.take((of, cost)) is None:
        times += 1
    return times


async def keys(log: Log) -> list[bytes]:
    redis = cast("Any", log.redis)
    return [key async for key in redis.scan_iter(match=f"{log.keys.prefix}:*allowance*")]


@one_and_three
async def test_two_processes_share_one_bucket(log: Log) -> None:
    async with sharing(log) as one, sharing(log) as two:
        here, there = bucket(log, 20), bucket(log, 20)
        taken = 0
        for _ in range(20):
            taken += await one.take((here, 1)) is None
            taken += await two.take((there, 1)) is None

    assert taken == 20


async def test_many_at_once_in_two_processes_spend_no_more_either(log: Log) -> None:
    async with sharing(log) as one, sharing(log) as two:
        pairs = [(one, bucket(log, 1_000)), (two, bucket(log, 1_000))]
        taken = 0

        async def take(buckets: Buckets, of: Bucket) -> None:
            nonlocal taken
            if await buckets.take((of, 1)) is None:
                taken += 1

        async with anyio.create_task_group() as tasks:
            for number in range(2_000):
                tasks.start_soon(take, *pairs[number % 2])

    idle = 2 * (1_000 // LEASE_PART)
    assert 1_000 - idle <= taken <= 1_000


async def test_no_request_is_rejected_while_tokens_are_left(log: Log) -> None:
    """Even if many first requests are concurrent, and more arrive during the call to Redis."""
    async with sharing(log) as buckets:
        of = bucket(log, 10_000)
        refusals: list[Bucket | None] = []

        async def come(late: int) -> None:
            for _ in range(late):
                await anyio.lowlevel.checkpoint()
            refusals.append(await buckets.take((of, 1)))

        async with anyio.create_task_group() as tasks:
            for number in range(2_000):
                tasks.start_soon(come, number % 200)

    assert refusals == [None] * 2_000


async def test_most_tokens_are_spent_without_a_call(log: Log) -> None:
    async with sharing(log) as buckets:
        of = bucket(log, 10_000)

        assert await spent(buckets, of, at_most=5_000) == 5_000

        assert buckets.calls < 60


async def test_a_bucket_known_to_be_empty_costs_no_call(log: Log) -> None:
    async with sharing(log) as buckets:
        of = bucket(log, 5)
        assert await spent(buckets, of) == 5
        before = buckets.calls

        for _ in range(1_000):
            assert await buckets.take((of, 1)) is of

        assert buckets.calls == before


async def test_either_all_buckets_give_tokens_or_none(log: Log) -> None:
    async with sharing(log) as buckets:
        rich, poor = bucket(log, 1_000, name="a"), bucket(log, 3, name="b")
        for _ in range(3):
            assert await buckets.take((rich, 1), (poor, 1)) is None
        await buckets.refresh(rich)
        left = rich.left(buckets.clock())

        for _ in range(100):
            assert await buckets.take((rich, 1), (poor, 1)) is poor

        assert rich.left(buckets.clock()) == pytest.approx(left, abs=1)


async def test_a_bucket_refills_by_the_clock_of_the_server(log: Log) -> None:
    async with sharing(log) as buckets:
        of = bucket(log, 2, window_s=1)
        assert await spent(buckets, of) >= 2

        with anyio.fail_after(DEADLINE_S):
            while await buckets.take((of, 1)) is not None:
                await anyio.sleep(of.wait_s(1, buckets.clock()))


async def test_an_expired_lease_goes_back(log: Log) -> None:
    clock = Clock()
    async with sharing(log, clock) as one, sharing(log) as two:
        mine, theirs = bucket(log, 200), bucket(log, 200)
        await spent(one, mine, at_most=7)
        assert mine.held > 0
        clock.now_s += LEASE_S + 1

        assert await one.take((mine, 1)) is None

        await two.refresh(theirs)
        assert int(theirs.left(two.clock())) + mine.held == 200 - 8


async def test_a_key_expires_once_its_bucket_is_full(log: Log) -> None:
    async with sharing(log) as buckets:
        quick, slow = bucket(log, 100, window_s=1, name="quick"), bucket(log, 100, name="slow")
        await buckets.take((quick, 1), (slow, 1))
        redis = cast("Any", log.redis)

        assert 0 < await redis.pttl(slow.key) <= 2 * HOUR_S * 1000 // 100
        with anyio.fail_after(DEADLINE_S):
            while await keys(log) != [slow.key.encode()]:
                await anyio.sleep(0.01)


async def test_tokens_taken_on_credit_are_charged_afterwards(log: Log) -> None:
    async with sharing(log) as one, sharing(log) as two:
        mine, theirs = bucket(log, 10), bucket(log, 10)

        assert sum(one.take_known(mine) for _ in range(15)) == 10

        with anyio.fail_after(DEADLINE_S):
            while theirs.left(two.clock()) >= 1:
                await two.refresh(theirs)
        assert await two.take((theirs, 1)) is theirs


async def test_a_foreign_value_leaves_a_bucket_full_or_alone(log: Log) -> None:
    redis = cast("Any", log.redis)
    async with sharing(log) as buckets:
        text, hashed = bucket(log, 3, name="text"), bucket(log, 3, name="hash")
        await redis.set(text.key, "nonsense")
        await redis.hset(hashed.key, "a", "b")

        assert await spent(buckets, text) == 3
        assert await spent(buckets, hashed) == 3


async def test_the_least_recently_used_buckets_are_forgotten(log: Log) -> None:
    table = Table("requests-per-address", 10, HOUR_S, log, kept=3)
    first = table.of("192.0.2.1", "192.0.2.1")
    for number in range(2, 5):
        table.of(f"192.0.2.{number}", f"192.0.2.{number}")

    assert table.of("192.0.2.1", "192.0.2.1") is not first
    assert table.of("192.0.2.4", "192.0.2.4") is table.of("192.0.2.4", "192.0.2.4")


class TestWithoutRedis:
    @pytest.fixture
    async def log(self, own_folder: Path, prefix: str) -> AsyncGenerator[Log]:
        with valkey(own_folder):
            client = connect(url_in(own_folder))
            yield await Log.open(client, prefix=prefix)
            await client.aclose()

    async def test_each_process_continues_with_the_tokens_it_knows_of(
        self, log: Log, own_folder: Path
    ) -> None:
        async with sharing(log) as buckets:
            of = bucket(log, 10)
            assert await spent(buckets, of, at_most=4) == 4
            process_of(own_folder).kill()
            process_of(own_folder).wait()

            assert await spent(buckets, of) == 6
            assert await buckets.take((bucket(log, 10, name="other"), 1)) is None

    async def test_nobody_waits_for_a_server_that_hangs(self, log: Log, own_folder: Path) -> None:
        async with sharing(log) as buckets:
            process_of(own_folder).send_signal(19)  # SIGSTOP
            try:
                assert await buckets.take((bucket(log, 10), 1)) is None  # this call times out
                calls = buckets.calls
                with anyio.move_on_after(0):  # a call that waits is cancelled
                    assert await spent(buckets, bucket(log, 100, name="other")) == 100
                    assert buckets.calls == calls
            finally:
                process_of(own_folder).send_signal(18)  # SIGCONT

    async def test_processes_share_again_when_the_server_is_back(
        self, own_folder: Path, prefix: str
    ) -> None:
        client = connect(url_in(own_folder))
        with valkey(own_folder, "--appendonly", "yes"):
            log = await Log.open(client, prefix=prefix)
            async with sharing(log) as one, sharing(log) as two:
                mine, theirs = bucket(log, 10), bucket(log, 10)
                process_of(own_folder).kill()
                process_of(own_folder).wait()
                assert await one.take((mine, 1)) is None

                with valkey(own_folder, "--appendonly", "yes"):
                    fresh = bucket(log, 10, name="fresh")
                    with anyio.fail_after(DEADLINE_S):
                        while not await keys(log):
                            await one.take((fresh, 1))
                            await anyio.sleep(0.01)
                        while await two.take((theirs, 1)) is None:
                            pass
                        while await one.take((mine, 1)) is None:
                            pass
                    await two.refresh(theirs)
                    assert theirs.left(two.clock()) < 1
        await client.aclose()
