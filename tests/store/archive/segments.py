"""Segments and archives for tests."""

from typing import Any

import msgspec

from domain.photo.commands import DeletePhoto, RecordErased, UploadPhoto
from domain.photo.events import FIRST_PREV
from domain.pipeline.job_stages import current_stages
from store.archive.archive import Archive
from store.archive.archiver import Archiver, Passed
from store.archive.catalog import GROUP
from store.archive.segment import Entry
from store.archive.settings import SealingSettings, TrimmingSettings
from store.blobs.interface import Blobs
from store.log import codec
from store.log.log import Log
from store.log.recorded import Recorded
from store.queue.dispatch import Dispatch
from tests.conftest import CONTEXT
from tests.domain.stories import UPLOADED, event
from tests.store.commands import completed, upload

LOG_ID = "0123456789abcdef0123456789abcdef"


def entries(count: int, *, first_ms: int = 1_795_300_000_000) -> list[Entry]:
    """Return this many entries of events, two for each photo."""
    found: list[Entry] = []
    for number in range(count):
        now = event(UPLOADED)
        photo_id = f"photo-{number // 2}"
        body = codec.encode_event(
            msgspec.structs.replace(
                now,
                data=msgspec.structs.replace(UPLOADED, photo_id=photo_id),
                metadata=msgspec.structs.replace(now.metadata, prev=FIRST_PREV),
            )
        )
        fields = {b"t": b"photo.uploaded", b"p": photo_id.encode(), b"v": b"1", b"b": body}
        parts = [part for field in fields.items() for part in field]
        found.append(Entry(b"%d-%d" % (first_ms + number // 3, number % 3), parts))
    return found


async def fill(log: Log, photos: int, *, client_id: str = "alice") -> list[str]:
    """Append two events for each of these photos; return their ids."""
    ids: list[str] = []
    for _ in range(photos):
        command = upload(client_id=client_id)
        await log.execute(command, client_id=client_id, context=CONTEXT)
        stage = completed(command, "validation")
        await log.execute(stage, client_id=client_id, context=CONTEXT)
        ids.append(command.photo_id)
    return ids


async def rest(log: Log, photos: int, *, client_id: str = "alice") -> list[UploadPhoto]:
    """Append all events of these photos, which are at rest then; every third one is erased."""
    commands: list[UploadPhoto] = []
    for number in range(photos):
        command = upload(client_id=client_id)
        await log.execute(command, client_id=client_id, context=CONTEXT)
        for stage in current_stages(command.pipeline):
            await log.execute(completed(command, stage), client_id=client_id, context=CONTEXT)
        if number % 3 == 0:
            for end in (DeletePhoto, RecordErased):
                now = end(photo_id=command.photo_id)
                await log.execute(now, client_id=client_id, context=CONTEXT)
        commands.append(command)
    return commands


async def states(log: Log, partition: int = 0) -> int:
    """Return how many photos have a state in Redis."""
    redis: Any = log.redis
    pattern = log.keys.photo(partition, "*")
    return len([key async for key in redis.scan_iter(match=pattern, count=1_000)])


def archiver_of(
    log: Log,
    blobs: Blobs,
    *,
    keep_s: float | None = None,
    keep_states_s: float | None = None,
    most: int = 8,
    group: int = GROUP,
) -> Archiver:
    """Return an archiver, which also gives the log its archive."""
    log.archive = Archive(blobs, log.log_id, group)
    return Archiver(
        log,
        blobs,
        Archive(blobs, log.log_id, group),
        sealing=SealingSettings(archive_segment_entries=most, archive_settle_s=0.001),
        trimming=TrimmingSettings(archive_keep_s=keep_s, archive_keep_states_s=keep_states_s),
    )


async def archive_all(
    log: Log, blobs: Blobs, *, keep_s: float | None = None, keep_states_s: float | None = None
) -> list[Passed]:
    """Archive everything now, in segments of eight entries."""
    archiver = archiver_of(log, blobs, keep_s=keep_s, keep_states_s=keep_states_s)
    return [await archiver.archive(each, now=True) for each in range(log.partitions)]


async def everything(log: Log, partition: int = 0) -> list[Recorded]:
    return [recorded async for recorded in log.scan(partition)]


async def in_stream(log: Log, partition: int = 0) -> int:
    return await log.redis.xlen(log.keys.log(partition))


async def dispatch_all(log: Log) -> None:
    """Plan all events, as workers do."""
    dispatch = Dispatch(log, "w1")
    for partition in range(log.partitions):
        await dispatch.prepare(partition)
        while events := await dispatch.read(partition, count=100, block_ms=1):
            await dispatch.commit([(each.position, ()) for each in events])


async def trim_all(log: Log, blobs: Blobs, *, keep_states_s: float | None = None) -> list[Passed]:
    """Archive everything and trim all but the last segment of each partition."""
    await dispatch_all(log)
    await archive_all(log, blobs)
    await fill(log, 1)  # the last entry of a stream stays
    await dispatch_all(log)
    return await archive_all(log, blobs, keep_s=0.0, keep_states_s=keep_states_s)
