from typing import Any

import anyio
import pytest

from domain.pipeline.stages import TREE
from gateway.queries.throughput import Counting, Rates
from store.log.log import Log
from store.queue.lanes import Lanes
from tests.gateway.conftest import DEADLINE_S

STAGE = "validation"


async def rates_of(counting: Counting) -> Rates:
    """Return the rates once there is an earlier count."""
    with anyio.fail_after(DEADLINE_S):
        while (rates := await counting.rates()).over_ms is None:
            await anyio.sleep(0.01)
    return rates


async def come(log: Log, number: int, partition: int = 0) -> None:
    for _ in range(number):
        await log.redis.xadd(log.keys.lane(partition, STAGE, "low"), {"b": b""})


async def test_rates_are_unknown_without_an_earlier_count(log: Log) -> None:
    rates = await Counting(log).rates()

    assert rates.over_ms is None
    assert (rates.of(STAGE).came, rates.of(STAGE).left) == (None, None)


async def test_rates_cover_the_tasks_since_the_earlier_count(log: Log) -> None:
    await Lanes(log, "one", tuple(TREE)).prepare(0)
    await come(log, 5)
    counting = Counting(log)

    async with counting.running():
        await rates_of(counting)
        await come(log, 3)
        await log.redis.xtrim(log.keys.lane(0, STAGE, "low"), maxlen=6, approximate=False)
        rates = await counting.rates()

    assert rates.over_ms
    seconds = rates.over_ms / 1000
    assert rates.of(STAGE).came == pytest.approx(3 / seconds, rel=0.1)
    assert rates.of(STAGE).left == pytest.approx(2 / seconds, rel=0.1)
    assert rates.of("metadata").came == 0


async def test_a_rate_is_unknown_if_lanes_were_lost(log: Log) -> None:
    await come(log, 5)
    counting = Counting(log)

    async with counting.running():
        await rates_of(counting)
        await log.redis.delete(log.keys.lane(0, STAGE, "low"))
        rates = await counting.rates()

    assert (rates.of(STAGE).came, rates.of("metadata").came) == (None, 0)


async def test_all_partitions_count_together(redis: Any, prefix: str) -> None:
    log = await Log.open(redis, partitions=2, prefix=prefix)
    counting = Counting(log)

    async with counting.running():
        await rates_of(counting)
        for partition in range(2):
            await come(log, 1, partition)
        rates = await counting.rates()

    assert rates.over_ms
    assert rates.of(STAGE).came == pytest.approx(2000 / rates.over_ms, rel=0.1)
