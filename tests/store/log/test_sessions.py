"""Upload sessions in the log: their chain, their cached state, and uploads into closed ones."""

from typing import Any

import anyio
import msgspec
import pytest

from domain.photo.commands import UploadPhoto
from domain.rejections import SessionIsClosed
from domain.sessions.events import SessionData, chain_of
from domain.sessions.session import RECENT, CloseSession, OpenSession, RecordDuplicate
from ops.maintenance.audit import audit
from store.log.log import Log
from store.log.outcome import Appended, Repeated
from store.log.position import Position
from store.log.recorded import Recorded
from store.log.sessions import Done, SessionLog
from tests.conftest import CONTEXT, home, one_and_three
from tests.store.commands import upload

SESSIONS = ("trip", "a b: {c} 日本")


def into(session_id: str | None, content: str | None = None) -> UploadPhoto:
    return msgspec.structs.replace(upload(content), session_id=session_id)


async def do(
    log: Log, kind: Any, session_id: str = "trip", key: str | None = None, **fields: Any
) -> Done:
    """Execute a command of alice, who knows of no events of the session."""
    command = kind(client_id="alice", session_id=session_id, **fields)
    without = Position.start(home(log))
    return await SessionLog(log).execute(command, CONTEXT, without=without, idempotency_key=key)


async def find(log: Log, number: int, session_id: str = "trip", *, key: str | None = None) -> Done:
    """Record an upload that is a duplicate."""
    fields = {"upload": str(number), "duplicate_of": "p", "original_filename": "a.jpg"}
    return await do(log, RecordDuplicate, session_id, key, **fields)


async def own_events(log: Log) -> list[Recorded]:
    found = [each async for each in log.scan(home(log))]
    return [each for each in found if isinstance(each.event.data, SessionData)]


@one_and_three
async def test_a_session_has_a_chain_among_the_photos_of_its_client(log: Log) -> None:
    for session_id in SESSIONS:
        await do(log, OpenSession, session_id, expected=2)
        await log.execute(into(session_id), client_id="alice", context=CONTEXT)
        await do(log, CloseSession, session_id)

    found = await audit(log)

    events = await own_events(log)
    assert (found.breaks, found.photos, found.events) == ([], 2, 6)
    assert [each.event.metadata.session_id for each in events] == [
        session_id for session_id in SESSIONS for _ in range(2)
    ]
    assert [each.event.metadata.photo_version for each in events] == [1, 2, 1, 2]


async def test_a_changed_event_of_a_session_breaks_its_chain(log: Log) -> None:
    await do(log, OpenSession)
    redis: Any = log.redis
    ((_, fields),) = await redis.xrange(log.keys.log(home(log)))
    await redis.xadd(log.keys.log(home(log)), fields)  # a copy of the first event

    (found,) = (await audit(log)).breaks

    assert found.chain.startswith("session-")
    assert found.problem == "it follows version 1"


async def test_an_upload_into_a_closed_session_is_rejected_by_the_append(log: Log) -> None:
    await do(log, CloseSession)

    with pytest.raises(SessionIsClosed):
        await log.execute(into("trip"), client_id="alice", context=CONTEXT)
    others = [
        await log.execute(into(session_id), client_id=client_id, context=CONTEXT)
        for session_id, client_id in (("other", "alice"), (None, "alice"), ("trip", "bob"))
    ]

    assert [type(each) for each in others] == [Appended] * 3


async def test_an_upload_that_was_recorded_is_repeated_after_the_session_was_closed(
    log: Log,
) -> None:
    command = into("trip")
    first = await log.execute(command, client_id="alice", context=CONTEXT, idempotency_key="one")
    await do(log, CloseSession)

    again = await log.execute(
        into("trip"), client_id="alice", context=CONTEXT, idempotency_key="one"
    )

    assert isinstance(first, Appended)
    assert isinstance(again, Repeated)
    assert (again.photo_id, again.position) == (command.photo_id, first.position)


async def test_of_uploads_and_a_closing_at_once_none_comes_after_the_closing(log: Log) -> None:
    outcomes: list[bool] = []

    async def send() -> None:
        try:
            await log.execute(into("trip"), client_id="alice", context=CONTEXT)
            outcomes.append(True)
        except SessionIsClosed:
            outcomes.append(False)

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(send)
            if number == 20:
                tasks.start_soon(do, log, CloseSession)

    types = [each.event.type async for each in log.scan(home(log))]
    assert types[-1] == "session.closed"
    assert types.count("photo.uploaded") == sum(outcomes)


async def test_of_concurrent_openings_one_is_recorded(log: Log) -> None:
    done: list[Done] = []

    async def open_it() -> None:
        done.append(await do(log, OpenSession, expected=5))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(open_it)

    assert sum(each.changed for each in done) == 1
    assert {each.after.session.expected for each in done} == {5}
    assert len(await own_events(log)) == 1


async def test_concurrent_duplicates_are_all_recorded(log: Log) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(find, log, number % 15)

    assert len(await own_events(log)) == 15
    assert (await audit(log)).breaks == []


async def test_a_duplicate_with_a_key_counts_once_however_many_others_follow(log: Log) -> None:
    await find(log, 0, key="one")
    for number in range(1, RECENT + 2):
        await find(log, number)
    redis: Any = log.redis

    again = await find(log, 0, key="one")
    await redis.delete(log.keys.upload_session(home(log), "alice", "trip"))
    folded = await find(log, 0, key="one")
    elsewhere = await find(log, 0, "other", key="one")

    assert (again.changed, folded.changed, elsewhere.changed) == (False, False, True)
    assert len(await own_events(log)) == RECENT + 3
    assert (await log.usage("alice")).idempotency_keys == 1


@pytest.mark.parametrize(
    "damaged", ["garbage", f"a {'0' * 64}", "a 1-1", f"{chain_of('alice', 'trip')} 1-1"]
)
async def test_a_key_that_names_no_event_of_the_session_keeps_no_duplicate_from_counting(
    log: Log, damaged: str
) -> None:
    redis: Any = log.redis
    await redis.set(log.keys.command(home(log), "alice", "trip\n0"), damaged)

    first = await find(log, 0, key="one")
    again = await find(log, 0, key="one")

    assert (first.changed, again.changed) == (True, False)


async def test_of_a_closed_session_only_what_the_log_has_was_counted(log: Log) -> None:
    await find(log, 0, key="one")
    for number in range(1, RECENT + 1):
        await find(log, number)
    opened = await do(log, OpenSession, expected=5)
    await do(log, CloseSession)
    redis: Any = log.redis
    foreign = log.keys.command(home(log), "alice", "trip\nother")
    chain, position = chain_of("alice", "trip"), opened.after.position
    assert position is not None

    def duplicate(upload: str) -> RecordDuplicate:
        return RecordDuplicate(
            client_id="alice",
            session_id="trip",
            upload=upload,
            duplicate_of="p",
            original_filename="a.jpg",
        )

    assert await SessionLog(log).was_counted(duplicate("0"))
    own = await redis.get(log.keys.command(home(log), "alice", "trip\n0"))
    for value in (b"garbage", f"{chain} 1-1", f"{chain} {position.entry_id}", own):
        await redis.set(foreign, value)
        assert not await SessionLog(log).was_counted(duplicate("other")), value


async def test_a_key_that_names_another_event_of_the_session_keeps_no_duplicate_from_counting(
    log: Log,
) -> None:
    opened = await do(log, OpenSession, expected=5)
    redis: Any = log.redis
    key = log.keys.command(home(log), "alice", "trip\n0")
    assert opened.after.position is not None
    await redis.set(key, f"{chain_of('alice', 'trip')} {opened.after.position.entry_id}")

    assert (await find(log, 0, key="one")).changed


async def test_an_upload_that_was_counted_is_known_without_its_key_after_the_closing(
    log: Log,
) -> None:
    await find(log, 0, key="one")
    await do(log, CloseSession)
    redis: Any = log.redis
    await redis.delete(log.keys.command(home(log), "alice", "trip\n0"))

    assert not (await find(log, 0, key="one")).changed
    with pytest.raises(SessionIsClosed):
        await find(log, 1, key="two")


async def test_a_lost_state_is_folded_again_from_where_the_caller_knows_no_events(log: Log) -> None:
    await log.execute(into("trip"), client_id="alice", context=CONTEXT)
    before = await log.end(home(log))
    await do(log, OpenSession, expected=5)
    closed = await do(log, CloseSession)
    redis: Any = log.redis
    key = log.keys.upload_session(home(log), "alice", "trip")

    for without in (None, before):
        await redis.delete(key)
        assert await SessionLog(log).load("alice", "trip", without) == closed.after
        assert await redis.exists(key)
    with pytest.raises(SessionIsClosed):
        await log.execute(into("trip"), client_id="alice", context=CONTEXT)


async def test_a_session_without_events_of_its_own_has_no_state(log: Log) -> None:
    await log.execute(into("trip"), client_id="alice", context=CONTEXT)

    loaded = await SessionLog(log).load("alice", "trip", None)

    redis: Any = log.redis
    assert (loaded.version, loaded.position) == (0, None)
    assert not await redis.exists(log.keys.upload_session(home(log), "alice", "trip"))


async def test_a_session_whose_events_the_log_has_lost_begins_again(log: Log) -> None:
    opened = await do(log, OpenSession, expected=5)
    await log.execute(into(None), client_id="alice", context=CONTEXT)
    assert opened.after.position is not None
    redis: Any = log.redis
    await redis.xdel(log.keys.log(home(log)), opened.after.position.entry_id)

    again = await do(log, OpenSession, expected=6)

    assert (again.changed, again.after.version) == (True, 1)
    assert (await audit(log)).breaks == []
