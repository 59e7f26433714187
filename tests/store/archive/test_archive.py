"""Sealing a log into segments, and reading stream and archive as one log."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from domain.photo.commands import DeletePhoto
from domain.photo.events import FIRST_PREV
from domain.pipeline.control import PauseStage
from domain.sessions.session import CloseSession
from store.archive.archive import FOLDER, Archive, is_segment
from store.archive.sealing import Sealer
from store.archive.settings import SealingSettings, TrimmingSettings
from store.archive.trimming import Trimmer
from store.blobs.interface import Blobs
from store.errors import Corrupt
from store.log import codec
from store.log.control import ControlLog
from store.log.entries import entries
from store.log.hash_splitting import MOST
from store.log.log import Log
from store.log.outcome import Duplicate, Repeated
from store.log.position import Position
from store.log.sessions import SessionLog, SessionState
from tests.conftest import CONTEXT, one_and_three
from tests.store.archive.segments import (
    archive_all,
    archiver_of,
    dispatch_all,
    everything,
    fill,
    in_stream,
    trim_all,
)
from tests.store.blob_stores import Keeper, content
from tests.store.commands import completed, upload


@one_and_three
async def test_sealed_segments_have_every_entry_once_and_in_order(log: Log, blobs: Blobs) -> None:
    for client in ("alice", "bob", "carol"):
        await fill(log, 6, client_id=client)

    passed = await archive_all(log, blobs)

    archive = Archive(blobs, log.log_id)
    for partition in range(log.partitions):
        expected = [entry async for entry in entries(log, await log.last_entry(partition))]
        places = await archive.places(partition)
        sealed = [e for at in range(len(places)) for e in await archive.entries(places, at)]
        assert [entry.fields for entry in sealed] == [entry.fields for entry in expected]
        assert sum(head.entries for head in passed[partition].sealed) == len(expected)
        assert all(is_segment(place.key) for place in places)


async def test_sealing_again_changes_nothing(log: Log, blobs: Blobs) -> None:
    await fill(log, 6)
    await archive_all(log, blobs)
    before = {blob.key: await content(blobs, blob.key) for blob in await blobs.keys(FOLDER)}

    passed = await archive_all(log, blobs)

    assert passed[0].sealed == []
    after = {blob.key: await content(blobs, blob.key) for blob in await blobs.keys(FOLDER)}
    assert after == before


async def test_only_what_is_full_or_old_is_sealed(log: Log, blobs: Blobs) -> None:
    await fill(log, 6)  # twelve entries
    archiver = archiver_of(log, blobs)
    last_s = (await log.end(0)).ms / 1000
    while (await log.now()).timestamp() <= last_s + 0.002:  # past archive_settle_s
        await anyio.lowlevel.checkpoint()

    passed = await archiver.archive(0)

    assert [head.entries for head in passed.sealed] == [8]


async def test_entries_that_a_failover_may_lose_are_not_sealed_yet(log: Log, blobs: Blobs) -> None:
    await fill(log, 6)
    settings = SealingSettings(archive_segment_entries=2)
    sealer = Sealer(log, blobs, Archive(blobs, log.log_id), settings)

    assert await sealer.hold(0)
    assert await sealer.seal(0) == []


@one_and_three
async def test_readers_do_not_see_where_an_event_is(log: Log, blobs: Blobs) -> None:
    for client in ("alice", "bob", "carol"):
        await fill(log, 9, client_id=client)
    partition = log.partition_of("alice")
    before = await everything(log, partition)

    await trim_all(log, blobs)

    now = await everything(log, partition)
    assert await in_stream(log, partition) < len(before)
    assert now[: len(before)] == before
    assert [each async for each in log.scan(partition, after=before[3].position)] == now[4:]
    assert await log.at(before[2].position) == before[2]
    stored = [entry async for entry in entries(log, now[-1].position)]
    assert [entry.position for entry in stored] == [each.position for each in now]


async def test_any_page_size_from_any_position_reads_the_same(log: Log, blobs: Blobs) -> None:
    await fill(log, 12)
    await trim_all(log, blobs)
    all_of_it = await everything(log)

    for at, each in enumerate(all_of_it):
        for count in (1, 3, 50):
            page = await log.read(each.position, count=count)
            expected = all_of_it[at + 1 :][:count]
            assert page == expected[: len(page)]
            assert page or not expected


async def test_a_lost_state_is_folded_from_archive_and_stream(log: Log, blobs: Blobs) -> None:
    command = upload()
    await log.execute(command, client_id="alice", context=CONTEXT)
    await fill(log, 5)
    await trim_all(log, blobs)
    await log.execute(completed(command, "validation"), client_id="alice", context=CONTEXT)
    cached = await log.load(command.photo_id, "alice")
    assert cached.version == 2

    await log.redis.delete(log.keys.photo(0, command.photo_id))

    assert await log.load(command.photo_id, "alice") == cached


async def test_the_state_of_a_photo_at_rest_needs_no_archive(log: Log, blobs: Blobs) -> None:
    ids = await fill(log, 6)
    await trim_all(log, blobs)
    for blob in await blobs.keys(FOLDER):
        await blobs.delete(blob.key)

    assert (await log.load(ids[0], "alice")).version == 2


async def test_chains_go_on_across_the_cut(log: Log, blobs: Blobs) -> None:
    ids = await fill(log, 6)
    await trim_all(log, blobs)

    await log.execute(DeletePhoto(photo_id=ids[0]), client_id="alice", context=CONTEXT)

    own = [each for each in await everything(log) if each.event.data.photo_id == ids[0]]
    digests = [FIRST_PREV, *(codec.digest(each.body) for each in own)]
    assert [each.event.metadata.prev for each in own] == digests[:-1]
    assert [each.event.metadata.photo_version for each in own] == [1, 2, 3]


async def test_duplicates_and_repeated_commands_are_known_across_the_cut(
    log: Log, blobs: Blobs
) -> None:
    first = upload("the same bytes")
    await log.execute(first, client_id="alice", context=CONTEXT, idempotency_key="k")
    await fill(log, 5)
    await trim_all(log, blobs)
    await log.redis.delete(log.keys.sha256(0, "alice"))  # folded again from the archive

    outcome = await log.execute(upload("the same bytes"), client_id="alice", context=CONTEXT)
    again = await log.execute(upload(), client_id="alice", context=CONTEXT, idempotency_key="k")

    assert isinstance(outcome, Duplicate)
    assert outcome.photo.photo_id == first.photo_id
    assert isinstance(again, Repeated)
    assert again.photo_id == first.photo_id


async def test_content_hashes_of_a_large_client_are_split(log: Log, blobs: Blobs) -> None:
    root = log.keys.sha256(log.partition_of("alice"), "alice")
    photo = upload("the same bytes")
    await log.execute(photo, client_id="alice", context=CONTEXT)
    await log.redis.hset(root, mapping={upload().sha256: "a photo" for _ in range(MOST)})

    await archive_all(log, blobs)

    assert await log.redis.hlen(root) == 2
    outcome = await log.execute(upload("the same bytes"), client_id="alice", context=CONTEXT)
    assert isinstance(outcome, Duplicate)
    assert outcome.photo.photo_id == photo.photo_id


async def test_the_controls_are_folded_from_archive_and_stream(log: Log, blobs: Blobs) -> None:
    controls = ControlLog(log)
    paused = await controls.execute(PauseStage(stage="thumbnails"), CONTEXT)
    await fill(log, 6)
    await trim_all(log, blobs)

    await log.redis.delete(log.keys.pipeline(0))

    assert await ControlLog(log).load() == paused


async def test_nothing_is_trimmed_that_no_dispatcher_has_planned(log: Log, blobs: Blobs) -> None:
    await fill(log, 8)
    await archive_all(log, blobs, keep_s=0.0)
    assert await in_stream(log) == 16

    await dispatch_all(log)
    await archive_all(log, blobs, keep_s=0.0)

    assert await in_stream(log) == 8  # the last segment has the last entry


async def test_nothing_is_trimmed_without_a_retention(log: Log, blobs: Blobs) -> None:
    await fill(log, 8)
    await dispatch_all(log)

    await archive_all(log, blobs)

    assert await in_stream(log) == 16


@pytest.mark.parametrize(("keep_bytes", "left"), [(1, 8), (1 << 30, 24)])
async def test_memory_bounds_what_stays_in_the_stream(
    log: Log, blobs: Blobs, keep_bytes: int, left: int
) -> None:
    await fill(log, 12)
    await dispatch_all(log)
    await archive_all(log, blobs)
    trimmer = Trimmer(
        log, Archive(blobs, log.log_id), TrimmingSettings(archive_keep_bytes=keep_bytes)
    )

    await trimmer.trim(0)

    assert await in_stream(log) == left


async def test_a_lost_session_is_folded_without_reading_what_the_archive_has(
    log: Log, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = SessionLog(log)
    close = CloseSession(client_id="alice", session_id="trip")
    await sessions.execute(close, CONTEXT, without=None)
    before = await sessions.load("alice", "trip", None)
    await fill(log, 20)
    await trim_all(log, blobs)
    await log.redis.delete(log.keys.upload_session(0, "alice", "trip"))

    async def never(*_: object) -> Any:
        raise AssertionError("it read a page of the archive")

    monkeypatch.setattr(log.archive, "page", never)

    assert await sessions.load("alice", "trip", None) == before
    assert await sessions.load("alice", "other", None) == SessionState()
    again = await sessions.execute(close, CONTEXT, without=None)
    assert not again.changed


async def test_a_page_costs_one_exchange_with_redis(
    log: Log, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(log, 20)
    await trim_all(log, blobs)
    await fill(log, 10)
    exchanges = 0

    def counted(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def count(*given: Any) -> Any:
            nonlocal exchanges
            exchanges += 1
            return await call(*given)

        return count

    monkeypatch.setattr(log.redis, "in_a_row", counted(log.redis.in_a_row))
    monkeypatch.setattr(log.redis, "exchange", counted(log.redis.exchange))
    position, pages = await log.trimmed(0), 0
    while page := await log.read(position, count=2):
        position, pages = page[-1].position, pages + 1

    assert pages == 11
    # The first page follows an entry that was trimmed, so the record is asked; the last is empty.
    assert exchanges == pages + 2


async def test_a_reader_that_was_passed_by_a_trim_takes_the_rest_from_the_archive(
    log: Log, blobs: Blobs
) -> None:
    await fill(log, 8)
    expected = await everything(log)
    first = await log.read(Position.start(0), count=3)
    await trim_all(log, blobs)

    rest = await log.read(first[-1].position, count=100)

    assert [*first, *rest][: len(expected)] == expected[: 3 + len(rest)]
    assert await in_stream(log) < len(expected)


async def test_a_lost_record_of_the_cut_stops_readers_until_it_is_found_again(
    log: Log, blobs: Blobs
) -> None:
    await fill(log, 8)
    await trim_all(log, blobs)
    before = await everything(log)
    await log.redis.delete(log.keys.trimmed(0))

    with pytest.raises(Corrupt, match="entries have left the stream, but the key"):
        await everything(log)

    await archive_all(log, blobs)
    assert await everything(log) == before


async def test_two_archivers_make_the_segments_of_one(log: Log, keeper: Keeper) -> None:
    await fill(log, 40)
    archivers = [archiver_of(log, await keeper.blobs(f"archiver-{n}")) for n in range(3)]

    async with anyio.create_task_group() as tasks:
        for archiver in archivers:
            tasks.start_soon(_archive_until_done, archiver.archive)

    archive = Archive(await keeper.blobs("reader"), log.log_id)
    places = await archive.places(0)
    heads = [facts.head for facts in await archive.chain(places)]
    assert [head.entries for head in heads] == [8] * 10
    assert [file for file in await keeper.everything() if "drafts/" in file] == []


async def _archive_until_done(archive: Callable[..., Any]) -> None:
    while (passed := await archive(0, now=True)).sealed or not passed.held:
        await anyio.lowlevel.checkpoint()


async def test_an_archiver_without_the_lease_writes_no_second_segment(
    log: Log, keeper: Keeper
) -> None:
    """The lease of a stopped process may have expired: its file must not replace another one."""
    await fill(log, 4)
    one, two = await keeper.blobs("one"), await keeper.blobs("two")
    stale = Archive(two, log.log_id)
    first = Sealer(log, one, Archive(one, log.log_id), SealingSettings(archive_segment_entries=8))
    second = Sealer(log, two, stale, SealingSettings(archive_segment_entries=3))
    assert await stale.places(0) == []  # before the first one seals

    await first.seal(0, now=True)
    await second.seal(0, now=True)

    archive = Archive(await keeper.blobs("reader"), log.log_id)
    heads = [facts.head for facts in await archive.chain(await archive.places(0))]
    assert [head.entries for head in heads] == [8]


async def test_a_reader_that_stops_at_any_point_sees_no_gap_while_the_stream_is_trimmed(
    log: Log, blobs: Blobs
) -> None:
    await fill(log, 20)
    expected = [each.position for each in await everything(log)]
    await dispatch_all(log)
    archiver = archiver_of(log, blobs, keep_s=0.0, most=4)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    seen: list[Position] = []
    position = Position.start(0)

    while page := await log.read(position, count=chance.randint(1, 5)):
        seen += [each.position for each in page]
        position = page[-1].position
        if chance.random() < 0.3:
            await archiver.archive(0, now=True)

    assert seen == expected
