"""Slots for uploads are shared between clients."""

from contextlib import AsyncExitStack

import anyio
import pytest

from gateway.http.problems import Refused
from gateway.limits.upload_slots import Slots


@pytest.mark.parametrize(("total", "of_one"), [(1, 1), (2, 1), (4, 3), (64, 48)])
async def test_one_client_leaves_slots_to_others(total: int, of_one: int) -> None:
    slots = Slots(total)
    async with AsyncExitStack() as taken:
        for _ in range(of_one):
            await taken.enter_async_context(slots.one("alice", 1))
        with pytest.raises(Refused, match="uploads"):
            await taken.enter_async_context(slots.one("alice", 0.01))
        for _ in range(total - of_one):
            await taken.enter_async_context(slots.one("bob", 1))

        assert slots.taken == total
        with pytest.raises(Refused):
            await taken.enter_async_context(slots.one("carol", 0.01))

    assert slots.taken == 0


async def test_a_released_slot_goes_to_a_waiting_upload() -> None:
    slots = Slots(1)
    got = anyio.Event()

    async def wait() -> None:
        async with slots.one("alice", 10):
            got.set()

    async with anyio.create_task_group() as tasks, slots.one("alice", 1):
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not got.is_set()

    assert got.is_set()
    assert slots.taken == 0


async def test_an_upload_that_gives_up_waiting_leaves_nothing_behind() -> None:
    slots = Slots(1)
    async with slots.one("bob", 1):
        with anyio.move_on_after(0.01):
            async with slots.one("alice", 10):
                pytest.fail("there is no free slot")

    async with slots.one("alice", 0.01):
        assert slots.taken == 1
