import anyio

from domain.pipeline.control_events import Rate
from store.log.log import Log
from store.queue.rates import Rates

HOURLY = Rate(max=3, duration_ms=3_600_000)


async def test_all_workers_together_get_the_tokens_of_one_bucket(log: Log) -> None:
    one, two = Rates(log), Rates(log)

    waits = [await rates.take("metadata", HOURLY) for rates in (one, two, one, two)]

    assert waits[:3] == [0, 0, 0]
    assert 1_100 < waits[3] <= 1_200  # a third of the hour


async def test_an_unused_token_can_be_taken_again(log: Log) -> None:
    rates = Rates(log)
    for _ in range(3):
        await rates.take("metadata", HOURLY)

    await rates.give_back("metadata", HOURLY)

    assert await rates.take("metadata", HOURLY) == 0
    assert await rates.take("metadata", HOURLY) > 0


async def test_each_stage_has_its_own_bucket(log: Log) -> None:
    rates = Rates(log)
    single = Rate(max=1, duration_ms=3_600_000)

    assert await rates.take("metadata", single) == 0
    assert await rates.take("thumbnails", single) == 0


async def test_a_bucket_refills_over_time(log: Log) -> None:
    rates = Rates(log)
    quick = Rate(max=1, duration_ms=50)
    assert await rates.take("metadata", quick) == 0

    with anyio.fail_after(5):
        while (wait_s := await rates.take("metadata", quick)) > 0:
            await anyio.sleep(wait_s)
