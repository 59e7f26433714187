"""Recovering a log that Redis has lost, from its archive and the read model."""

import pytest

from domain.photo.commands import DeletePhoto
from domain.pipeline.control import PauseStage
from domain.pipeline.recoveries import LogRecovered
from domain.sessions.session import CloseSession
from ops.errors import UserError
from ops.maintenance.audit import audit
from projections.models import history
from store.archive.archive import FOLDER, SET_ASIDE
from store.blobs.folder import FolderBlobs
from store.errors import Replaced, UnsuitableServer
from store.keys import partition_of
from store.log import identity
from store.log.control import ControlLog
from store.log.log import Log
from store.log.outcome import Duplicate
from store.log.position import Position
from store.log.sessions import SessionLog
from store.queue import losses
from store.queue.dispatch import Dispatch
from store.redis.connection import Client
from store.sqlite.connection import open_reader
from store.sqlite.generations import Generations
from tests.conftest import CONTEXT
from tests.ops.maintenance.recoveries import (
    events,
    lose,
    project,
    recover,
    recoveries,
    reopened,
    worked,
)
from tests.store.archive.segments import archive_all, everything, fill, in_stream, trim_all
from tests.store.commands import upload

AT = partition_of("alice", 3)
"""A partition with photos."""

OF_AT = f"{FOLDER}/{AT:02d}"


@pytest.fixture
def partitions() -> int:
    return 3


async def test_archive_and_read_model_together_bring_everything_back(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, generations: Generations
) -> None:
    photos = await worked(log, blobs)
    await ControlLog(log).execute(PauseStage(stage="thumbnails"), CONTEXT)
    await archive_all(log, blobs)
    photos += await worked(log, blobs)
    model = await project(log, generations)
    before, states = await events(log), [await log.load(each, of) for of, each in photos]
    await lose(redis, prefix)

    done = await recover(redis, prefix, blobs, [model])

    new = await reopened(redis, prefix, blobs)
    assert (new.log_id, new.partitions) == (log.log_id, log.partitions)
    assert await events(new) == before
    assert [await new.load(each, of) for of, each in photos] == states
    assert (await ControlLog(new).load()).controls.is_paused("thumbnails")
    found = await audit(new)
    assert (found.breaks, found.lost) == ([], [])
    assert done.findings is not None
    assert done.findings.broken == []
    assert 0 < done.findings.from_read_model < done.findings.events
    assert await identity.epoch(redis, new.keys) == done.epoch == 2
    assert [each.epoch for each in await recoveries(new)] == [2]


async def test_uploads_sessions_and_duplicates_continue(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, generations: Generations
) -> None:
    photos = await worked(log, blobs)
    sessions = SessionLog(log)
    close = CloseSession(client_id="alice", session_id="trip")
    await sessions.execute(close, CONTEXT, without=None)
    same = upload(content=photos[0][1], client_id="alice")
    await archive_all(log, blobs)
    model = await project(log, generations)
    await lose(redis, prefix)
    await recover(redis, prefix, blobs, [model])
    new = await reopened(redis, prefix, blobs)

    outcome = await new.execute(same, client_id="alice", context=CONTEXT)
    state = await SessionLog(new).load("alice", "trip", None)
    later = await fill(new, 2, client_id="alice")

    assert isinstance(outcome, Duplicate)
    assert outcome.photo.photo_id == photos[0][1]
    assert state.session.closed
    assert (await new.load(later[1], "alice")).version == 2
    assert (await audit(new)).breaks == []


async def test_without_a_read_model_the_end_is_lost_and_said_to_be(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    sealed = await events(log)
    command = upload(client_id="alice")
    await blobs.put(command.key, b"alice")
    await log.execute(command, client_id="alice", context=CONTEXT)
    await lose(redis, prefix)

    done = await recover(redis, prefix, blobs)

    new = await reopened(redis, prefix, blobs)
    assert await events(new) == sealed
    assert done.findings is not None
    assert done.findings.unnamed == [command.key]
    assert done.findings.from_read_model == 0
    (recorded,) = await recoveries(new)
    assert recorded.lost == ("1 original that no recovered event names",)
    lasts = [str(sealed[p][-1][0]) for p in sealed if sealed[p]]
    assert list(recorded.ends) == lasts


async def test_a_read_model_alone_brings_the_log_back(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, generations: Generations
) -> None:
    await worked(log, blobs)
    model = await project(log, generations)
    before = await events(log)
    await lose(redis, prefix)

    await recover(redis, prefix, blobs, [model])

    assert await events(await reopened(redis, prefix, blobs)) == before


async def test_a_projector_continues_its_read_model(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, generations: Generations
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    model = await project(log, generations)
    await lose(redis, prefix)
    await recover(redis, prefix, blobs, [model])
    new = await reopened(redis, prefix, blobs)
    await fill(new, 1)

    assert await project(new, generations) == model

    reader = open_reader(model)
    assert history.count(reader) == (await audit(new)).events
    assert len(list(history.of_system(reader, LogRecovered.TYPE))) == 1
    reader.close()


async def test_a_read_model_that_has_more_than_the_log_is_folded_again(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, generations: Generations
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await fill(log, 3, client_id="bob")
    model, at = await project(log, generations), log.partition_of("bob")
    await lose(redis, prefix)
    await recover(redis, prefix, blobs)  # the read model was of another machine
    new = await reopened(redis, prefix, blobs)

    await project(new, generations)

    path = generations.current() or model
    reader = open_reader(path)
    stored = [position for position, _ in history.stored(reader, Position.start(at), 1_000)]
    reader.close()
    assert stored == [each.position for each in await everything(new, at)]
    alerts = [each for each in await everything(new) if each.event.type == "pipeline.alerted"]
    assert len(alerts) == 1


async def test_new_positions_are_later_than_all_that_were_lost(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await fill(log, 3, client_id="bob")
    lost = await log.end(log.partition_of("bob"))
    await lose(redis, prefix)
    await recover(redis, prefix, blobs)
    new = await reopened(redis, prefix, blobs)

    await fill(new, 1, client_id="bob")

    later = (await new.read(Position(lost.partition, lost.ms, lost.seq)))[0].position
    assert later > lost
    assert await new.at(lost) is None


async def test_what_had_left_redis_stays_in_the_archive(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, generations: Generations
) -> None:
    photos = await worked(log, blobs)
    await trim_all(log, blobs)
    model = await project(log, generations)
    before, stream = await events(log), await in_stream(log, AT)
    await lose(redis, prefix)

    await recover(redis, prefix, blobs, [model], keep_s=0.0)

    new = await reopened(redis, prefix, blobs)
    assert await events(new) == before
    assert await new.trimmed(AT) > Position.start(AT)
    assert await in_stream(new, AT) == stream
    assert await new.removed(AT) == (len(before[AT]) - stream, True)
    client_id, photo_id = photos[0]
    assert (await new.load(photo_id, client_id)).version > 0
    await fill(new, 2)
    await trim_all(new, blobs)
    assert (await audit(new)).breaks == []


async def test_a_damaged_segment_is_replaced_by_the_read_model(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, generations: Generations
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    model = await project(log, generations)
    before = await events(log)
    segments = [blob.key for blob in await blobs.keys(OF_AT)]
    await blobs.put(segments[1], b"damaged")
    await lose(redis, prefix)

    done = await recover(redis, prefix, blobs, [model])

    new = await reopened(redis, prefix, blobs)
    assert await events(new) == before
    assert done.findings is not None
    assert done.findings.parts[AT].lost == []
    aside = [blob.key for blob in await blobs.keys(SET_ASIDE)]
    assert aside == [each.replace(FOLDER, f"{SET_ASIDE}/2") for each in segments[1:]]
    await archive_all(new, blobs)
    await new.archive.page(Position.start(AT), 1)
    assert (await audit(new)).breaks == []


async def test_a_missing_segment_is_named_with_the_photos_that_have_lost_events(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    photos = await worked(log, blobs)
    await archive_all(log, blobs)
    for client_id, photo_id in photos:
        await log.execute(DeletePhoto(photo_id=photo_id), client_id=client_id, context=CONTEXT)
    await archive_all(log, blobs)
    before = await everything(log, AT)
    segments = [blob.key for blob in await blobs.keys(OF_AT)]
    await blobs.delete(segments[0])
    await lose(redis, prefix)

    done = await recover(redis, prefix, blobs)

    new = await reopened(redis, prefix, blobs)
    found = await audit(new)
    assert (found.breaks, found.lost) == ([], [])
    assert done.findings is not None
    (lost,) = done.findings.parts[AT].lost
    assert segments[0] in lost.reason
    first = {each.event.data.photo_id for each in before[:8]}
    assert {each.chain for each in done.findings.broken} == first
    kept = {each.event.data.photo_id for each in await everything(new, AT)}
    assert kept & first == set()
    (recorded,) = await recoveries(new)
    assert set(recorded.photo_ids) == first


async def test_an_empty_log_that_a_start_has_left_is_replaced(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    before = await events(log)
    await lose(redis, prefix)
    other = await Log.open(redis, prefix=prefix, partitions=5)
    await Dispatch(other, "w1").prepare(0)
    await ControlLog(other).load()

    await recover(redis, prefix, blobs)

    new = await reopened(redis, prefix, blobs)
    assert await events(new) == before
    dispatch = Dispatch(new, "w1")
    await dispatch.prepare(0)
    assert await dispatch.read(0, count=100, block_ms=1) == []
    with pytest.raises(Replaced):
        await other.confirm()


async def test_a_second_recovery_changes_nothing(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose(redis, prefix)
    await recover(redis, prefix, blobs)
    new = await reopened(redis, prefix, blobs)
    once = await audit(new)

    again = await recover(redis, prefix, blobs)

    assert (again.epoch, again.findings) == (2, None)
    assert await audit(new) == once


async def test_a_log_that_is_lost_again_begins_a_third_epoch(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose(redis, prefix)
    await recover(redis, prefix, blobs)
    await archive_all(await reopened(redis, prefix, blobs), blobs)
    await lose(redis, prefix)

    done = await recover(redis, prefix, blobs)

    new = await reopened(redis, prefix, blobs)
    assert done.epoch == 3
    assert [each.epoch for each in await recoveries(new)] == [2, 3]
    assert (await audit(new)).breaks == []


async def test_nothing_joins_or_appends_while_the_log_is_recovered(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose(redis, prefix)
    seen: list[type[Exception]] = []
    note = losses.note

    async def while_it_is_not_done(of: Log, partition: int) -> None:
        with pytest.raises(UnsuitableServer, match="is being recovered") as joined:
            await Log.open(redis, prefix=prefix)
        with pytest.raises(Replaced) as appended:
            await log.execute(upload(), client_id="alice", context=CONTEXT, patience_s=0.0)
        seen.extend((joined.type, appended.type))
        await note(of, partition)

    monkeypatch.setattr(losses, "note", while_it_is_not_done)

    await recover(redis, prefix, blobs)

    assert seen
    monkeypatch.undo()
    await log.execute(upload(), client_id="alice", context=CONTEXT)
    assert (await audit(log)).breaks == []


async def test_segments_that_change_while_it_is_interrupted_are_noticed(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose(redis, prefix)

    async def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(losses, "note", interrupt)
    with pytest.raises(KeyboardInterrupt):
        await recover(redis, prefix, blobs)
    monkeypatch.undo()
    last = (await blobs.keys(OF_AT))[-1].key
    await blobs.delete(last)

    with pytest.raises(UserError, match="has changed since its recovery began"):
        await recover(redis, prefix, blobs)
