"""One look that many callers share."""

import asyncio

import pytest

from gateway.state.shared_look import SharedLook


class Looks:
    """Counts its looks; each ends once it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def look(self) -> int:
        self.begun += 1
        number = self.begun
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return number


async def test_concurrent_and_later_callers_share_one_look() -> None:
    looks = Looks()
    shared = SharedLook(looks.look, keep_s=60)

    callers = asyncio.gather(*(shared.get() for _ in range(20)))
    looks.go.set()

    assert await callers == [1] * 20
    assert await shared.get() == 1


async def test_a_fresh_look_begins_after_the_call_and_is_shared_too() -> None:
    looks = Looks()
    shared = SharedLook(looks.look, keep_s=60)

    first = asyncio.create_task(shared.get())
    while looks.begun == 0:
        await asyncio.sleep(0)
    callers = asyncio.gather(*(shared.get(fresh=True) for _ in range(20)))
    await asyncio.sleep(0)
    looks.go.set()

    assert await first == 1
    assert await callers == [2] * 20


async def test_after_a_change_the_next_caller_looks_again() -> None:
    looks = Looks()
    looks.go.set()
    shared = SharedLook(looks.look, keep_s=60)

    assert await shared.get() == 1
    shared.expire()

    assert await shared.get() == 2


async def test_an_error_reaches_its_callers_and_is_not_kept() -> None:
    looks = Looks()
    looks.error = ConnectionError("away")
    shared = SharedLook(looks.look, keep_s=60)

    callers = asyncio.gather(*(shared.get() for _ in range(3)), return_exceptions=True)
    looks.go.set()
    assert [type(each) for each in await callers] == [ConnectionError] * 3
    looks.error = None

    assert await shared.get() == 2


async def test_a_caller_that_gives_up_does_not_end_the_look_of_others() -> None:
    looks = Looks()
    shared = SharedLook(looks.look, keep_s=60)

    leaving, staying = (asyncio.create_task(shared.get()) for _ in range(2))
    while looks.begun == 0:
        await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    looks.go.set()

    assert await staying == 1
