"""Detects confirmed events that the log has lost; the tests remove them by hand."""

import pytest

from store.errors import Unavailable
from store.log.answered import Answered
from store.log.log import Log
from store.redis.connection import Client, connect
from tests.conftest import CONTEXT
from tests.store.commands import upload


@pytest.fixture
async def log(redis: Client, prefix: str) -> Log:
    return await Log.open(redis, prefix=prefix)


async def record(log: Log) -> str:
    command = upload()
    await log.execute(command, client_id="alice", context=CONTEXT)
    return command.photo_id


async def lose(log: Log, count: int) -> None:
    """Remove the last events."""
    for _ in range(count):
        await log.redis.xdel(log.keys.log(0), (await log.end(0)).entry_id)


async def lost(log: Log) -> list[str]:
    return [answer.photo_id for answer in await log.answered.lost(0)]


async def test_events_in_the_log_are_not_lost(log: Log) -> None:
    assert await lost(log) == []
    for _ in range(3):
        await record(log)

    assert [await lost(log), await lost(log)] == [[], []]


async def test_lost_events_are_reported_once_whether_found_before_or_fresh(log: Log) -> None:
    photos = [await record(log) for _ in range(3)]
    assert await lost(log) == []
    photos += [await record(log) for _ in range(2)]

    await lose(log, 4)

    assert await lost(log) == photos[1:]
    assert await lost(log) == []


async def test_a_gap_before_newer_events_is_found_after_a_doubt(log: Log) -> None:
    await record(log)
    gone = await record(log)
    await lose(log, 1)
    await record(log)

    log.answered.doubt(0)

    assert await lost(log) == [gone]


async def test_each_answer_of_another_owner_is_looked_up(log: Log) -> None:
    gone = await record(log)
    position = await log.end(0)
    await lose(log, 1)
    log.answered = Answered(log, 1, remembered=10)
    log.answered.note(position, gone, "", asked="a server that is no more")
    await record(log)

    assert await lost(log) == [gone]


async def test_another_event_at_the_same_position_does_not_count(log: Log) -> None:
    photo_id = await record(log)
    position = await log.end(0)
    log.answered = Answered(log, 1, remembered=10)
    log.answered.note(position, photo_id, "0" * 64, asked="")

    assert await lost(log) == [photo_id]


async def test_the_oldest_answers_are_forgotten(log: Log) -> None:
    log.answered = Answered(log, 1, remembered=2)
    photos = [await record(log) for _ in range(5)]
    await lose(log, 5)

    assert await lost(log) == photos[-2:]


async def test_nothing_is_forgotten_while_the_log_does_not_answer(log: Log) -> None:
    photo_id = await record(log)
    await lose(log, 1)
    there, log.redis = log.redis, connect("unix:///nowhere/at/all")

    with pytest.raises(Unavailable):
        await log.answered.lost(0)

    log.redis = there
    assert await lost(log) == [photo_id]
