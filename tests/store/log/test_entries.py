"""Reads of the stream as it is: events and what other programs have written."""

from typing import Any

import pytest

from domain.photo.commands import StartProcessing
from domain.pipeline.control import PauseStage
from domain.pipeline.stages import Task
from store.errors import Corrupt, Unexpected
from store.log import codec
from store.log.control import ControlLog
from store.log.entries import entries, length
from store.log.foreign import note, noted
from store.log.log import Log
from store.log.memory import Memory, memory
from store.log.position import LAST_SEQ, Position
from store.log.stream import READ_COUNT
from tests.conftest import CONTEXT
from tests.store.commands import upload

FOREIGN = {"t": b"photo.uploaded"}


async def added(log: Log) -> Position:
    """Append one event; return its position."""
    outcome = await log.execute(upload(), client_id="alice", context=CONTEXT)
    assert outcome.position is not None
    return outcome.position


async def disturbed(log: Log) -> Position:
    """Add an entry that is not an event; return its position."""
    redis: Any = log.redis
    return Position.of_entry(0, await redis.xadd(log.keys.log(0), FOREIGN))


async def test_every_entry_up_to_a_position_is_read_whatever_it_is(log: Log) -> None:
    written = [await added(log), await disturbed(log), await added(log)]
    await added(log)

    found = [each async for each in entries(log, written[-1])]

    assert [each.position for each in found] == written
    assert found[1].fields == {b"t": b"photo.uploaded"}
    assert await length(log, 0) == 4


async def test_reads_of_many_entries_go_on_after_each_page(log: Log) -> None:
    written = [await disturbed(log) for _ in range(READ_COUNT + 1)]

    assert [each.position async for each in entries(log, written[-1])] == written
    assert await log.end(0) == Position.start(0)
    assert await log.last_entry(0) == written[-1]
    last = await added(log)
    assert [each.position async for each in log.scan(0)] == [last]


async def test_an_entry_with_all_fields_of_an_event_that_is_none_is_corrupt(log: Log) -> None:
    redis: Any = log.redis
    fields = {"t": b"photo.uploaded", "p": b"x", "v": b"1", "b": b"garbage"}
    await redis.xadd(log.keys.log(0), fields, id="5-7")

    with pytest.raises(Corrupt, match="0:5-7"):
        await log.read(Position.start(0))


async def test_a_foreign_entry_is_noted_until_it_is_removed(log: Log) -> None:
    assert await noted(log) is None
    at = await disturbed(log)

    await note(log, 0, [at.entry_id.encode()])
    assert await noted(log) == at

    await log.redis.xdel(log.keys.log(0), at.entry_id)
    assert await noted(log) is None


async def test_a_note_that_another_program_has_overwritten_is_none(log: Log) -> None:
    await log.redis.set(log.keys.foreign(0), b"garbage")

    assert await noted(log) is None


async def test_the_memory_of_the_server_is_a_share_of_its_limit(log: Log) -> None:
    found = await memory(log, 0)

    assert found is not None
    assert found.used_bytes > 0
    assert Memory(used_bytes=30, max_bytes=120).used_percent == 25
    assert Memory(used_bytes=30, max_bytes=0).used_percent == 0


async def test_events_of_photos_change_no_control(log: Log) -> None:
    await added(log)
    controls = ControlLog(log)
    paused = await controls.execute(PauseStage(stage="metadata"), CONTEXT)
    await added(log)

    await log.redis.delete(log.keys.pipeline(0))

    assert await ControlLog(log).load() == paused


async def test_a_command_on_a_photo_is_no_session_of_its_own(log: Log) -> None:
    command = upload()
    await log.execute(command, client_id="alice", context=CONTEXT)
    start = StartProcessing(photo_id=command.photo_id, job_id=command.job_id)
    await log.execute(start, client_id="alice", context=CONTEXT)

    sessions = {each.event.metadata.session_id async for each in log.scan(0)}

    assert sessions == {command.session_id}


def test_a_task_reads_as_it_was_written() -> None:
    task = Task(
        photo_id="p",
        client_id="alice",
        job_id="j",
        stage="validation",
        priority=5,
        trace_id="t",
        cause="0:1-0",
        attempt=2,
        due="2026-11-23T10:00:05.000Z",
        cost_ms=7,
        follows=True,
    )

    assert codec.decode_task(codec.encode_task(task)) == task
    with pytest.raises(Corrupt, match="a task"):
        codec.decode_task(b"garbage")


def test_the_position_before_the_first_of_a_millisecond_is_the_last_of_the_one_before() -> None:
    assert Position(3, 7, 2).before == Position(3, 7, 1)
    assert Position(3, 7, 0).before == Position(3, 6, LAST_SEQ)


@pytest.mark.parametrize("entry_id", [b"", b"7", b"7-x", b"x-7", None, "7-0"])
def test_another_entry_id_is_unexpected(entry_id: bytes) -> None:
    with pytest.raises(Unexpected, match="id of a stream entry"):
        Position.of_entry(0, entry_id)
