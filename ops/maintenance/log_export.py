"""Export the log, and perhaps the photos, into one portable file.

The file is a tar archive (POSIX pax), whose members are, in this order:

| member | what |
|---|---|
| ``photolog-export.json`` | ``Manifest`` |
| ``blobs/<key>`` | a file that an event names, if the export is one with blobs |
| ``log/segments/07/<ms>-<seq>`` | segments, as ``ops/guides/segment-format.md`` specifies them |

The segments are made for the export: they form one chain for each partition, whatever the archive
has. Blobs come before the events that name them, as everywhere.
"""

import io
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import BinaryIO, Literal

import msgspec
from anyio import to_thread

from ops.maintenance.reconcile import names
from store.archive.archive import Archive, key_of
from store.archive.raw import RawStream, after
from store.archive.segment import Entry, Previous, Segment, encode
from store.blobs.interface import Readable
from store.errors import Missing
from store.log.log import Log
from store.log.position import Position

MANIFEST = "photolog-export.json"
BLOBS = "blobs/"

SEGMENT_ENTRIES = 4_096
SEGMENT_BYTES = 8 << 20
SPOOLED_BYTES = 64 << 20

Progress = Callable[[int, int | None], None]
"""Called with ``(done, total)`` in files."""


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one partition; positions are None if it has none."""

    partition: int
    first: str | None
    last: str | None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``complete`` says whether the ranges begin at the beginning of the log."""

    format: Literal["photolog-export"] = "photolog-export"
    version: int = 1
    log: str
    partitions: int
    complete: bool
    blobs: bool
    ranges: list[Range]


class Exported(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``missing`` are the keys of blobs that events name and that do not exist."""

    events: int
    segments: int
    blobs: int
    missing: list[str]


async def export(
    log: Log,
    archive: Archive,
    file: BinaryIO,
    *,
    blobs: Readable | None = None,
    begin: Mapping[int, Position] | None = None,
    upto: Mapping[int, Position] | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Exported:
    """Write the log after ``begin`` up to ``upto``, by default all of it, with ``blobs`` if given.

    The system may be running: entries appended after the call began are left out.

    Raises:
        StoreError: the log, the archive or a blob cannot be read.
    """
    begins = {p: (begin or {}).get(p, Position.start(p)) for p in range(log.partitions)}
    ends = {p: (upto or {}).get(p) or await log.last_entry(p) for p in range(log.partitions)}
    ranges = [await _range(log, begins[p], ends[p]) for p in range(log.partitions)]
    manifest = Manifest(
        log=log.log_id,
        partitions=log.partitions,
        complete=begin is None,
        blobs=blobs is not None,
        ranges=ranges,
    )
    files, missing, segments, events = 0, list[str](), 0, 0
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        await _add(tar, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        if blobs is not None:
            keys = sorted((await names(log)).wanted)
            for done, key in enumerate(keys):
                progress(done, len(keys))
                if await _add_blob(tar, blobs, key):
                    files += 1
                else:
                    missing.append(key)
        for partition in range(log.partitions):
            previous: Previous | None = None
            async for entries in _runs(log, archive, begins[partition], ends[partition]):
                data = encode(entries, log_id=log.log_id, partition=partition, previous=previous)
                segment = Segment(data)
                previous = Previous(first=segment.head.first, sha256=segment.sha256)
                await _add(tar, key_of(segment.head.first_position), data)
                segments, events = segments + 1, events + len(entries)
                progress(segments, None)
    return Exported(events=events, segments=segments, blobs=files, missing=missing)


async def _range(log: Log, begin: Position, end: Position) -> Range:
    found = await log.entries_after(begin.partition, begin.entry_id, count=1)
    first = Position.of_entry(begin.partition, found[0][0]) if found else None
    if first is None or first > end:
        return Range(partition=begin.partition, first=None, last=None)
    return Range(partition=begin.partition, first=str(first), last=str(end))


async def _runs(
    log: Log, archive: Archive, begin: Position, end: Position
) -> AsyncIterator[list[Entry]]:
    """Yield the entries after ``begin`` up to ``end``, as many at once as fill a segment."""
    run: list[Entry] = []
    size = 0
    async for entry in _raw(log, archive, begin, end):
        run.append(entry)
        size += entry.size
        if len(run) == SEGMENT_ENTRIES or size >= SEGMENT_BYTES:
            yield run
            run, size = [], 0
    if run:
        yield run


async def _raw(log: Log, archive: Archive, begin: Position, end: Position) -> AsyncIterator[Entry]:
    """Yield the entries as they are stored, from archive and stream."""
    partition, stream = begin.partition, RawStream(log)
    while begin < end:
        page = await stream.read(after(begin), end)
        if begin < await log.trimmed(partition):  # only now: entries may have left meanwhile
            page = await _sealed(archive, begin)
        if not page:
            return
        for entry in page:
            begin = Position.of_entry(partition, entry.entry_id)
            if begin > end:
                return
            yield entry


async def _sealed(archive: Archive, begin: Position) -> list[Entry]:
    """Return the entries after ``begin`` of the segment that has the next one."""
    first = Position.of_entry(begin.partition, (await archive.page(begin, 1))[0][0])
    places = await archive.places(begin.partition, fresh=False)
    at = max(at for at, place in enumerate(places) if place.first <= first)
    return [
        entry
        for entry in await archive.entries(places, at)
        if Position.of_entry(begin.partition, entry.entry_id) >= first
    ]


async def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    await to_thread.run_sync(tar.addfile, _info(name, len(data)), io.BytesIO(data))


async def _add_blob(tar: tarfile.TarFile, blobs: Readable, key: str) -> bool:
    """Add the blob; return False if it does not exist."""
    from tempfile import SpooledTemporaryFile  # noqa: PLC0415

    with SpooledTemporaryFile(SPOOLED_BYTES) as spool:
        try:
            async for chunk in blobs.read(key):
                await to_thread.run_sync(spool.write, chunk)
        except Missing:
            return False
        size = spool.tell()
        spool.seek(0)
        await to_thread.run_sync(tar.addfile, _info(BLOBS + key, size), spool)
    return True


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(time.time())
    return info
