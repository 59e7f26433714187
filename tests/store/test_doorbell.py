from store.doorbell import Doorbell, ring
from store.log import Log


async def test_a_ring_wakes_who_waits(log: Log) -> None:
    bell = Doorbell(log)
    assert not await bell.wait(0.05)

    await ring(log)

    assert await bell.wait(5)
    await bell.close()


async def test_rings_that_came_together_are_answered_once(log: Log) -> None:
    bell = Doorbell(log)
    assert not await bell.wait(0.05)

    await ring(log)
    await ring(log)

    assert await bell.wait(5)
    assert not await bell.wait(0.05)
    await bell.close()
