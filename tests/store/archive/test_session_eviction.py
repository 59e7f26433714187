"""States of upload sessions at rest leave Redis, and come back from the archive."""

from typing import Any

import anyio
import msgspec
import pytest

from domain.photo.commands import UploadPhoto
from domain.rejections import SessionIsClosed
from domain.sessions.events import Totals
from domain.sessions.session import (
    CloseSession,
    CompleteSession,
    ExpireSession,
    OpenSession,
    RecordDuplicate,
)
from ops.maintenance.audit import audit
from store.blobs.interface import Blobs
from store.log.log import Log
from store.log.outcome import Appended
from store.log.position import Position
from store.log.sessions import Done, SessionLog
from tests.conftest import CONTEXT, home, one_and_three
from tests.store.archive.segments import archiver_of, dispatch_all, fill, trim_all
from tests.store.blob_stores import Keeper
from tests.store.commands import upload

TOTALS = Totals(received=0, duplicates=0, completed=0, failed=0, deleted=0)

ENDINGS = {"completed": (CloseSession, CompleteSession), "expired": (OpenSession, ExpireSession)}

ROUNDS = 12


def into(session_id: str, content: str | None = None) -> UploadPhoto:
    return msgspec.structs.replace(upload(content), session_id=session_id)


async def do(
    log: Log, kind: Any, session_id: str, *, without: Position | None = None, **fields: Any
) -> Done:
    command = kind(client_id="alice", session_id=session_id, **fields)
    return await SessionLog(log).execute(command, CONTEXT, without=without)


async def end(log: Log, session_id: str, how: str) -> Done:
    """Bring the session to rest, as clients and gateways do."""
    first, last = ENDINGS[how]
    await do(log, first, session_id)
    return await do(log, last, session_id, totals=TOTALS, seen=1, upto=f"{home(log)}:1-1")


async def send(log: Log, session_id: str) -> bool:
    """Upload a photo; return False if its session is closed."""
    try:
        outcome = await log.execute(into(session_id), client_id="alice", context=CONTEXT)
    except SessionIsClosed:
        return False
    assert isinstance(outcome, Appended)
    return True


async def kept(log: Log) -> set[str]:
    """Return the sessions with a state in Redis."""
    redis: Any = log.redis
    start = log.keys.upload_session(home(log), "alice", "")
    return {key.decode().removeprefix(start) async for key in redis.scan_iter(match=f"{start}*")}


async def reopened(log: Log) -> Log:
    """Return the log as a process has it that has just started."""
    found = await Log.find(log.redis, prefix=log.keys.prefix)
    assert found is not None
    found.archive = log.archive
    return found


class Looks:
    """Counts how often the archive is asked for the events of a session or photo."""

    def __init__(self, log: Log) -> None:
        self.count = 0
        self._of_photo = log.archive.of_photo
        log.archive.of_photo = self._counted

    async def _counted(self, partition: int, photo_id: str) -> Any:
        self.count += 1
        return await self._of_photo(partition, photo_id)


@one_and_three
async def test_states_of_sessions_at_rest_leave_and_others_stay(log: Log, blobs: Blobs) -> None:
    for number in range(3):
        await end(log, f"completed-{number}", "completed")
        await end(log, f"expired-{number}", "expired")
    await do(log, OpenSession, "open")
    await do(log, CloseSession, "closed")
    duplicate: Any = {"upload": "0", "duplicate_of": "p", "original_filename": "a.jpg"}
    await do(log, RecordDuplicate, "begun", **duplicate)
    await end(log, "reopened", "expired")
    await do(log, OpenSession, "reopened", expected=2)

    passed = await trim_all(log, blobs, keep_states_s=0.0)

    assert await kept(log) == {"open", "closed", "begun", "reopened"}
    assert sum(each.evicted for each in passed) == 6


async def test_states_stay_without_the_setting_and_before_their_time(
    log: Log, blobs: Blobs
) -> None:
    await end(log, "trip", "completed")

    await trim_all(log, blobs)
    await trim_all(log, blobs, keep_states_s=3_600.0)

    assert await kept(log) == {"trip"}


async def test_an_upload_into_an_evicted_session_is_rejected_if_it_was_closed(
    log: Log, blobs: Blobs
) -> None:
    await end(log, "closed", "completed")
    await end(log, "expired", "expired")
    await trim_all(log, blobs, keep_states_s=0.0)
    assert await kept(log) == set()

    for each in (log, await reopened(log)):
        assert not await send(each, "closed")
        assert not await send(each, "closed")
        assert await send(each, "expired")

    assert await kept(log) == set()


async def test_an_upload_is_rejected_if_its_session_was_closed_and_evicted_since_the_last(
    log: Log, blobs: Blobs
) -> None:
    await trim_all(log, blobs, keep_states_s=0.0)
    assert await send(log, "trip")
    other = await reopened(log)
    await end(other, "trip", "completed")
    await trim_all(other, blobs, keep_states_s=0.0)
    assert await kept(log) == set()

    assert not await send(log, "trip")


async def test_uploads_ask_the_archive_for_a_session_only_after_more_was_trimmed(
    log: Log, blobs: Blobs
) -> None:
    await fill(log, 8)
    before = Looks(log)
    for _ in range(3):
        assert await send(log, "trip")
    assert before.count == 0
    await trim_all(log, blobs, keep_states_s=0.0)

    looks = Looks(log)
    for _ in range(5):
        assert await send(log, "trip")
    assert looks.count == 1

    await trim_all(log, blobs, keep_states_s=0.0)
    looks = Looks(log)
    for _ in range(5):
        assert await send(log, "trip")
    assert looks.count == 1


async def test_a_session_with_a_state_is_never_looked_up(log: Log, blobs: Blobs) -> None:
    await trim_all(log, blobs, keep_states_s=0.0)
    await do(log, OpenSession, "trip", without=await log.end(home(log)))
    looks = Looks(log)

    assert await send(log, "trip")

    assert looks.count == 0


@pytest.mark.parametrize("how", ENDINGS)
async def test_a_command_puts_the_state_back_and_continues_the_chain(
    log: Log, blobs: Blobs, how: str
) -> None:
    ended = await end(log, "trip", how)
    await trim_all(log, blobs, keep_states_s=0.0)

    loaded = await SessionLog(log).load("alice", "trip", None)
    assert (loaded.version, loaded.digest) == (2, ended.after.digest)
    assert await kept(log) == set()  # reading puts nothing back

    again = await do(log, ENDINGS[how][1], "trip", totals=TOTALS, seen=2, upto=f"{home(log)}:1-2")

    assert (again.changed, again.after.version) == (True, 3)
    assert await kept(log) == {"trip"}
    assert (await audit(log)).breaks == []
    await trim_all(log, blobs, keep_states_s=0.0)
    assert await kept(log) == set()


async def test_a_command_that_changes_nothing_puts_nothing_back(log: Log, blobs: Blobs) -> None:
    await end(log, "trip", "completed")
    await trim_all(log, blobs, keep_states_s=0.0)

    assert not (await do(log, CloseSession, "trip")).changed
    with pytest.raises(SessionIsClosed):
        await do(log, OpenSession, "trip")

    assert await kept(log) == set()


async def test_commands_at_once_on_an_evicted_session_are_recorded_once(
    log: Log, blobs: Blobs
) -> None:
    await end(log, "trip", "expired")
    await trim_all(log, blobs, keep_states_s=0.0)
    done: list[Done] = []

    async def open_it() -> None:
        done.append(await do(log, OpenSession, "trip", expected=5))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(open_it)

    assert sum(each.changed for each in done) == 1
    assert (await audit(log)).breaks == []


async def test_a_session_that_the_read_model_does_not_have_yet_is_found_by_index(
    log: Log, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = await end(log, "trip", "completed")
    await fill(log, 20)
    await trim_all(log, blobs, keep_states_s=0.0)

    async def never(*_: object) -> Any:
        raise AssertionError("it read a page of the archive")

    monkeypatch.setattr(log.archive, "page", never)
    behind = Position.start(home(log))  # a read model that is being rebuilt

    loaded = await SessionLog(log).load("alice", "trip", behind)

    assert loaded.digest == ended.after.digest


async def test_a_lost_record_of_what_was_evicted_only_repeats_the_work(
    log: Log, blobs: Blobs
) -> None:
    await end(log, "trip", "completed")
    await trim_all(log, blobs, keep_states_s=0.0)
    await log.redis.delete(log.keys.evicted(0))

    await SessionLog(log).load("alice", "trip", None)  # puts it back
    assert await kept(log) == {"trip"}
    await trim_all(log, blobs, keep_states_s=0.0)

    assert await kept(log) == set()


async def test_of_uploads_closings_and_archivers_at_once_none_comes_after_a_closing(
    log: Log, keeper: Keeper
) -> None:
    archivers = [
        archiver_of(log, await keeper.blobs(f"archiver-{n}"), keep_s=0.0, keep_states_s=0.0)
        for n in range(2)
    ]
    done = anyio.Event()

    async def archive(number: int) -> None:
        while not done.is_set():
            await archivers[number].archive(0, now=True)

    async def upload_into(session_id: str) -> None:
        while await send(log, session_id):
            await dispatch_all(log)

    async def close() -> None:
        for number in range(ROUNDS):
            await end(log, f"trip-{number}", "completed")
            await fill(log, 2)
            await dispatch_all(log)
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(archive, 0)
        tasks.start_soon(archive, 1)
        for number in range(ROUNDS):
            tasks.start_soon(upload_into, f"trip-{number}")
        tasks.start_soon(close)

    closed: set[str] = set()
    async for each in log.scan(0):
        session_id = each.event.metadata.session_id
        if each.event.type == "session.closed" and session_id is not None:
            closed.add(session_id)
        assert each.event.type != "photo.uploaded" or session_id not in closed
    assert len(closed) == ROUNDS
    assert (await audit(log)).breaks == []
    loaded = [await SessionLog(log).load("alice", each, None) for each in sorted(closed)]
    assert all(each.session.closed and each.version == 2 for each in loaded)


@pytest.mark.parametrize("looked_up", [False, True])
async def test_a_lost_record_of_what_was_trimmed_lets_no_upload_into_a_closed_session(
    log: Log, blobs: Blobs, looked_up: bool
) -> None:
    await end(log, "trip", "completed")
    await trim_all(log, blobs, keep_states_s=0.0)
    gateway = await reopened(log)
    if looked_up:
        assert not await send(gateway, "trip")
    redis: Any = log.redis
    await redis.delete(log.keys.trimmed(home(log)))

    assert not await send(gateway, "trip")
    assert await send(gateway, "another trip")


async def test_gateways_that_took_uploads_before_a_closing_take_none_afterwards(
    log: Log, blobs: Blobs
) -> None:
    await trim_all(log, blobs)
    gateways = await reopened(log), await reopened(log)
    for gateway in gateways:
        assert await send(gateway, "trip")
    await trim_all(log, blobs, keep_states_s=0.0)
    assert await send(gateways[0], "trip")
    await end(gateways[1], "trip", "completed")
    await trim_all(log, blobs, keep_states_s=0.0)

    assert await kept(log) == set()
    for gateway in (*gateways, await reopened(log)):
        assert not await send(gateway, "trip")
