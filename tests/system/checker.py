"""Audit a system from the bytes of its log and files alone.

The checker uses plain Redis commands and reads the files itself; the rules are in ``rules``.
The system should be at rest: photos still in progress or being erased are reported as findings.
"""

import hashlib
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast

import msgspec
from anyio import to_thread

from tests.system.rules import File, Photo, chain_breaks, told_by
from tests.system.stored import Stored

PAGE = 1_000

OWNER = {"log/id", "log/partitions"}
"""The files that hold the id of the log and its number of partitions; no event names them."""

SEGMENTS = "log/segments/"


class Redis(Protocol):
    """The Redis commands that the checker uses, on a server or a cluster."""

    def hget(self, name: str, key: str, /) -> Any: ...
    def xrange(self, name: str, min: str, max: str, count: int, /) -> Any: ...  # noqa: A002
    def xlen(self, name: str, /) -> Any: ...
    def zcount(self, name: str, least: str, most: str, /) -> Any: ...
    def scan_iter(self, match: str, count: int) -> AsyncIterator[Any]: ...


class Entry(NamedTuple):
    """One entry of a partition's stream: its fields, and the event in its body."""

    position: str
    fields: dict[bytes, bytes]
    event: dict[str, Any]

    @property
    def body(self) -> bytes:
        return self.fields[b"b"]

    @property
    def of_pipeline(self) -> bool:
        """Whether the event is about the pipeline itself and not about a photo."""
        return self.event["type"].startswith("pipeline.")


@dataclass
class Findings:
    """What the checker found; ``wrong`` is empty if all rules hold.

    ``failed`` are the dead letters of photos that are not deleted, by photo. ``entries`` are the
    log's entries by partition, and ``photos`` the photos that they describe.
    """

    uploaded: set[str] = field(default_factory=set[str])
    completed: set[str] = field(default_factory=set[str])
    failed: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    erased: set[str] = field(default_factory=set[str])
    problems: list[str] = field(default_factory=list[str])
    unfinished: list[str] = field(default_factory=list[str])
    tasks: list[str] = field(default_factory=list[str])
    stray: list[str] = field(default_factory=list[str])
    entries: list[list[Entry]] = field(default_factory=list[list[Entry]], repr=False)
    photos: list[Photo] = field(default_factory=list[Photo], repr=False)

    @property
    def wrong(self) -> list[str]:
        """Everything that must not be left once the system is at rest, each in a sentence."""
        return [
            *self.problems,
            *(f"{photo}: unfinished" for photo in self.unfinished),
            *(f"{lane}: tasks are left" for lane in self.tasks),
            *(f"{key}: no event names it" for key in self.stray),
        ]


async def examine(redis: Redis, prefix: str, stored: Stored) -> Findings:
    """Read log and files, and return the findings."""
    found = Findings()
    partitions = await _partitions(redis, prefix)
    entries = [await _entries(redis, prefix, number) for number in range(partitions)]
    _check_system_chain(entries, found)
    _check_causes(entries, found)
    photos = [photo for number in range(partitions) for photo in _photos(entries, number, found)]
    _check_uniqueness(photos, found)
    await to_thread.run_sync(_check_files, photos, stored, found)
    found.entries, found.photos = entries, photos
    for number in range(partitions):
        found.tasks += await _tasks(redis, prefix, number)
    return found


async def _partitions(redis: Redis, prefix: str) -> int:
    return int(cast("bytes", await redis.hget(f"{prefix}:meta", "partitions")))


async def _entries(redis: Redis, prefix: str, partition: int) -> list[Entry]:
    found: list[Entry] = []
    start = "-"
    while page := cast(
        "list[tuple[bytes, dict[bytes, bytes]]]",
        await redis.xrange(f"{prefix}:{{{partition:02d}}}:log", start, "+", PAGE),
    ):
        found += [
            Entry(f"{partition}:{entry_id.decode()}", fields, msgspec.msgpack.decode(fields[b"b"]))
            for entry_id, fields in page
        ]
        start = f"({page[-1][0].decode()}"
    return found


def _check_system_chain(entries: list[list[Entry]], found: Findings) -> None:
    """Check that the events of the pipeline itself are in partition 0, in one chain."""
    for partition, of_partition in enumerate(entries):
        chain = [entry for entry in of_partition if entry.of_pipeline]
        if chain and partition > 0:
            found.problems.append(f"partition {partition} has events of the pipeline itself")
        found.problems += [
            f"{chain[version - 1].position}: the pipeline's chain breaks at version {version}"
            for version in chain_breaks([entry.body for entry in chain])
        ]


def _check_causes(entries: Sequence[list[Entry]], found: Findings) -> None:
    """Check that each event has an actor, a trace, and a cause that came before it."""
    known = {entry.position for of_partition in entries for entry in of_partition}
    for of_partition in entries:
        seen: set[str] = set()
        for entry in of_partition:
            metadata = entry.event["metadata"]
            if not (metadata["actor"] and metadata["traceId"] and metadata["source"]):
                found.problems.append(f"{entry.position}: it names no actor")
            cause = metadata["cause"]
            partition, _, _ = entry.position.partition(":")
            nearby = cause is not None and cause.startswith(f"{partition}:")
            if cause is not None and cause not in (seen if nearby else known):
                found.problems.append(f"{entry.position}: its cause {cause} did not come before it")
            seen.add(entry.position)


def _photos(entries: list[list[Entry]], partition: int, found: Findings) -> list[Photo]:
    histories: dict[str, list[Entry]] = {}
    for entry in entries[partition]:
        if not entry.of_pipeline:
            histories.setdefault(entry.event["data"]["photoId"], []).append(entry)
    photos = [
        told_by(photo_id, [entry.body for entry in history])
        for photo_id, history in histories.items()
    ]
    for photo in photos:
        found.problems += photo.problems
        if zlib.crc32(photo.client_id.encode()) % len(entries) != partition:
            found.problems.append(f"{photo.photo_id}: in partition {partition}, not its client's")
        for entry in histories[photo.photo_id]:
            _check_fields(photo.photo_id, entry, found)
        _note(photo, found)
    return photos


def _check_fields(photo_id: str, entry: Entry, found: Findings) -> None:
    """Check that the entry's own fields match its body."""
    event = entry.event
    filed = tuple(entry.fields[name].decode() for name in (b"t", b"p", b"v"))
    if filed != (event["type"], photo_id, str(event["metadata"]["photoVersion"])):
        found.problems.append(f"{photo_id}: {entry.position} is filed as {filed}")


def _note(photo: Photo, found: Findings) -> None:
    found.uploaded.add(photo.photo_id)
    if not photo.at_rest:
        found.unfinished.append(photo.photo_id)
    elif photo.deleted:
        found.erased.add(photo.photo_id)
    elif photo.job is not None and photo.job.failure is not None:
        found.failed[photo.photo_id] = photo.job.failure
    else:
        found.completed.add(photo.photo_id)


def _check_uniqueness(photos: list[Photo], found: Findings) -> None:
    """Check that a photo has one history, and that a client has the same bytes only once."""
    for photo_id, count in Counter(photo.photo_id for photo in photos).items():
        if count > 1:
            found.problems.append(f"{photo_id}: in {count} partitions")
    held = Counter((photo.client_id, photo.sha256) for photo in photos if not photo.deleted)
    found.problems += [
        f"{client_id} has {count} photos of the same bytes {sha256}"
        for (client_id, sha256), count in held.items()
        if count > 1
    ]


def _check_files(photos: list[Photo], stored: Stored, found: Findings) -> None:
    keys = stored.keys()
    named: set[str] = set()
    for photo in photos:
        named |= photo.files.keys()
        for key, file in photo.files.items():
            if photo.erased and key in keys:
                found.problems.append(f"{key}: stored, but its photo was erased")
            elif not (photo.erased or photo.deleted):
                _check_file(key, file, stored.read(key), found)
    found.stray = sorted(key for key in keys - named - OWNER if not key.startswith(SEGMENTS))


def _check_file(key: str, file: File, data: bytes | None, found: Findings) -> None:
    if data is None:
        if not file.superseded:
            found.problems.append(f"{key}: named, but not stored")
    elif len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
        found.problems.append(f"{key}: its {len(data)} bytes differ from those recorded")


async def _tasks(redis: Redis, prefix: str, partition: int) -> list[str]:
    """Return the lanes and timers that are not empty."""
    start = f"{prefix}:{{{partition:02d}}}:"
    keys = [cast("bytes", key) async for key in redis.scan_iter(f"{start}stage:*", count=PAGE)]
    sizes = {key: await redis.xlen(key) for key in sorted(key.decode() for key in keys)}
    sizes[f"{start}timers"] = await redis.zcount(f"{start}timers", "-inf", "(+inf")
    return [f"{key} ({size})" for key, size in sizes.items() if size]
