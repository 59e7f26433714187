"""Events that were sealed, and then removed from the stream or changed in it."""

import anyio
import pytest

from store.archive.archive import Archive
from store.archive.comparing import differences
from store.blobs.interface import Blobs
from store.errors import Corrupt
from store.log.log import Log
from tests.ops.tampering import add, at, rewritten, stored, tamper
from tests.store.archive.segments import archive_all, archiver_of, fill, trim_all


async def found(log: Log, blobs: Blobs) -> list[tuple[str, str]]:
    """Return the id and the problem of each event that differs."""
    archive = Archive(blobs, log.log_id)
    places = await archive.places(0)
    return [
        (each.position.entry_id, each.problem)
        for number in range(len(places))
        for each in await differences(log, archive, places, number)
    ]


async def test_a_sealed_stream_is_as_it_was_sealed(log: Log, blobs: Blobs) -> None:
    await fill(log, 12)
    await trim_all(log, blobs)
    await fill(log, 2)

    assert await found(log, blobs) == []


async def test_events_that_were_removed_changed_or_inserted_are_named(
    log: Log, blobs: Blobs
) -> None:
    await fill(log, 9)
    await anyio.sleep(0.002)  # so that an id between both halves is free
    await fill(log, 3)
    await archive_all(log, blobs)
    (_, fields), *_ = entries = await stored(log)
    removed, changed = entries[3][0], entries[12][0]
    inserted = f"{entries[17][0].partition('-')[0]}-{10**6}"

    await tamper(log, at(12, rewritten))
    await log.redis.xdel(log.keys.log(0), removed)
    later = await stored(log)
    await log.redis.delete(log.keys.log(0))
    for entry_id, kept in sorted(
        [*later, (inserted, fields)], key=lambda each: [*map(int, each[0].split("-"))]
    ):
        await add(log, kept, entry_id)

    assert await found(log, blobs) == [
        (removed, "it was removed from the stream"),
        (changed, "it was changed in the stream"),
        (inserted, "it was inserted into the stream"),
    ]


async def test_a_foreign_entry_may_be_removed(log: Log, blobs: Blobs) -> None:
    entry_id = await log.redis.xadd(log.keys.log(0), {"what": "ever"})
    await fill(log, 4)
    await archive_all(log, blobs)
    await log.redis.xdel(log.keys.log(0), entry_id)

    assert await found(log, blobs) == []
    await fill(log, 4)
    assert (await archive_all(log, blobs))[0].sealed


async def test_nothing_is_sealed_after_a_sealed_event_was_removed(log: Log, blobs: Blobs) -> None:
    archiver = archiver_of(log, blobs)
    await fill(log, 12)
    await archiver.archive(0, now=True)
    before = await blobs.keys("log/segments")
    removed = (await stored(log))[3][0]
    await log.redis.xdel(log.keys.log(0), removed)
    await fill(log, 4)

    with pytest.raises(Corrupt, match=f"has the event at 0:{removed}, but it was removed"):
        await archiver.archive(0, now=True)

    assert await blobs.keys("log/segments") == before


async def test_what_was_deleted_before_it_was_sealed_does_not_stop_the_archiver(
    log: Log, blobs: Blobs
) -> None:
    archiver = archiver_of(log, blobs)
    await fill(log, 6)
    await archiver.archive(0, now=True)
    await fill(log, 2)
    await log.redis.xdel(log.keys.log(0), (await stored(log))[-2][0])

    sealed = [(await archiver.archive(0, now=True)).sealed]
    await fill(log, 2)
    sealed.append((await archiver.archive(0, now=True)).sealed)

    assert all(sealed)
