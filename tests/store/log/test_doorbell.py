from store.log.doorbell import Doorbell, ring
from store.log.log import Log


async def test_a_ring_wakes_a_waiting_listener(log: Log) -> None:
    bell = Doorbell(log)
    assert not await bell.wait(0.05)

    await ring(log)

    assert await bell.wait(5)
    await bell.close()


async def test_a_hundred_rings_wake_the_listener_and_leave_none_behind(log: Log) -> None:
    bell = Doorbell(log)
    assert not await bell.wait(0.05)

    for _ in range(100):
        await ring(log)

    answers = 0
    while await bell.wait(0.2):
        answers += 1
    assert 1 <= answers <= 100
    await bell.close()
