import asyncio

import anyio

from gateway.rooms.turns import AT_ONCE, WINDOW_S, WINDOWS, Turns
from tests.gateway.conftest import DEADLINE_S

STREAMS = 5 * AT_ONCE


async def test_streams_of_a_client_send_a_few_at_a_time_and_all_of_them_in_the_end() -> None:
    turns, sent = Turns(), 0
    finished = anyio.Event()

    async def stream() -> None:
        nonlocal sent
        await turns.take("mallory")
        sent += 1
        if sent == STREAMS:
            finished.set()

    async with anyio.create_task_group() as tasks:
        for _ in range(STREAMS):
            tasks.start_soon(stream)
        await asyncio.sleep(0)
        assert sent == AT_ONCE

        await turns.take("alice")  # waits for nobody

        assert sent == AT_ONCE
        with anyio.fail_after(DEADLINE_S):
            await finished.wait()


async def test_a_stream_that_ends_in_line_leaves_its_turn_to_the_next() -> None:
    turns = Turns()
    for _ in range(AT_ONCE):
        await turns.take("alice")
    in_line = [asyncio.create_task(turns.take("alice")) for _ in range(STREAMS)]
    await asyncio.sleep(0)
    for each in in_line:
        each.cancel()

    with anyio.fail_after(DEADLINE_S):
        await turns.take("alice")


async def test_a_long_line_is_served_within_a_bounded_number_of_windows() -> None:
    turns = Turns()
    windows: list[int] = []  # streams that had their turn, in each window

    async def stream() -> None:
        await turns.take("alice")
        windows[-1] += 1

    async with anyio.create_task_group() as tasks:
        windows.append(0)
        for _ in range(60 * AT_ONCE):
            tasks.start_soon(stream)
        for _ in range(2 * WINDOWS):
            await asyncio.sleep(WINDOW_S)
            windows.append(0)

    served = [each for each in windows if each > 0]
    assert sum(served) == 60 * AT_ONCE
    assert len(served) <= WINDOWS + 2  # the first ones, and what is left over
