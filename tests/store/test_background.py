import logging

import anyio
import pytest

from store.background import Background


async def test_a_task_that_fails_is_logged_counted_and_restarted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []
    background = Background(told.append)
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise OSError(24, "Too many open files")

    with caplog.at_level(logging.ERROR):
        await background.keep("the hub", work)

    assert runs == 3
    assert background.failures["the hub"] == 2
    assert told == ["the hub"] * 2
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


async def test_a_task_waiting_for_its_restart_is_reported_as_failing() -> None:
    background = Background()
    failed, restarted = anyio.Event(), anyio.Event()

    async def work() -> None:
        if failed.is_set():
            restarted.set()
            await anyio.sleep_forever()
        failed.set()
        raise RuntimeError("no room")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(background.keep, "the hub", work)
        await restarted.wait()

        assert background.failing == {"the hub": "RuntimeError: no room"}
        tasks.cancel_scope.cancel()


async def test_a_task_that_cannot_be_restarted_ends_its_process() -> None:
    background = Background()

    async def work() -> None:
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        await background.keep("the hub", work, restarts=1)

    assert background.failures["the hub"] == 2


async def test_a_cancelled_task_does_not_count_as_failed() -> None:
    background = Background()

    with anyio.move_on_after(0.01):
        await background.keep("the hub", anyio.sleep_forever)

    assert not background.failures


async def test_giving_up_wakes_waiters_and_stops_all_restarts() -> None:
    background = Background()
    over = anyio.Event()

    async def wait() -> None:
        await background.over()
        over.set()

    async def work() -> None:
        raise RuntimeError("no room")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        with pytest.raises(RuntimeError):
            await background.keep("the hub", lambda: background.keep("a part", work, restarts=0))
        await over.wait()

    assert isinstance(background.gave_up, RuntimeError)
    assert background.failures == {"a part": 1}
    await background.over()


def test_a_handled_error_is_counted_too(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    background = Background(told.append)

    try:
        int("no number")
    except ValueError as error:
        background.failed("health check", error, part="redis")

    assert told == ["health check"]
    assert background.failing == {
        "health check": "ValueError: invalid literal for int() with base 10: 'no number'"
    }
    assert "health check of redis failed" in caplog.text
    assert "Traceback" in caplog.text
