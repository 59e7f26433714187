"""What the log has, and where: partitions, segments, what is in Redis, and who has read how far."""

import time
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from store.archive.archive import Archive
from store.archive.comparing import differences
from store.archive.naming import ends_early
from store.concurrently import for_each
from store.errors import StoreError
from store.log import identity
from store.log.log import Log
from store.log.position import Position
from store.log.stream import READ_COUNT
from store.queue.dispatch import DISPATCH
from store.queue.liveness import log_size
from store.redis.connection import translated


class ReaderLag(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How far a reader has come. ``lag_s`` is the age of its next event; 0 if there is none."""

    reader: str
    position: str
    lag_s: float


class PartitionInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One partition. Positions are None where there is nothing; sizes are in bytes.

    ``sealed_*`` is about the archive, ``live_*`` about the stream, and ``unsealed`` counts the
    entries that are in the stream alone. ``problem`` says what is wrong with the archive.
    """

    partition: int
    oldest: str | None
    newest: str | None
    segments: int
    sealed_events: int
    sealed_bytes: int
    sealed_upto: str | None
    trimmed_upto: str | None
    live_events: int
    live_bytes: int | None
    unsealed: int
    readers: list[ReaderLag]
    problem: str | None = None


class LogInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``epoch`` counts the recoveries of the log, from 1."""

    log_id: str
    epoch: int
    partitions: list[PartitionInfo]

    @property
    def well(self) -> bool:
        return not any(each.problem for each in self.partitions)


class _Added(NamedTuple):
    """How many ``entries`` a stream has ever had, up to ``last``.

    It is ``exact`` if none of them was deleted singly.
    """

    entries: int
    last: Position
    exact: bool


async def look(log: Log, archive: Archive, read_models: Mapping[int, Position]) -> LogInfo:
    """Return what each partition has; ``read_models`` are the checkpoints of this machine.

    Raises:
        Unavailable: Redis does not answer.
    """

    async def of(partition: int) -> PartitionInfo:
        return await _partition(log, archive, partition, read_models.get(partition))

    return LogInfo(
        log_id=log.log_id,
        epoch=await identity.epoch(log.redis, log.keys),
        partitions=await for_each(of, range(log.partitions)),
    )


async def check(log: Log, archive: Archive) -> list[str]:
    """Read every segment of the log back; return what is wrong with each that is not whole, or that
    differs from the events that are still in the stream."""
    problems: list[str] = []
    for partition in range(log.partitions):
        before, end = len(problems), Position.start(partition)
        trimmed = await log.trimmed(partition)
        try:
            places = await archive.places(partition)
        except StoreError as error:
            problems.append(str(error))
            continue
        for at in range(len(places)):
            try:
                await archive.entries(places, at)
                end = (await archive.facts(places, at)).head.last_position
                differing = await differences(log, archive, places, at)
            except StoreError as error:
                problems.append(str(error))
                continue
            problems += (
                f"the event at {each.position} differs from segment {each.segment}: {each.problem}"
                for each in differing
            )
        if len(problems) == before and end < trimmed:
            problems.append(ends_early(end, trimmed))
    return list(dict.fromkeys(problems))


async def _partition(
    log: Log, archive: Archive, partition: int, projected: Position | None
) -> PartitionInfo:
    start = Position.start(partition)
    size, end = await log_size(log, partition), await log.last_entry(partition)
    trimmed = await log.trimmed(partition)  # first: what it names was in the archive before
    segments = sealed_events = sealed_bytes = 0
    sealed_upto, first, problem = start, None, None
    added = await _added(log, partition)
    try:
        places = await archive.places(partition)
        segments, sealed_bytes = len(places), sum(place.size for place in places)
        first = places[0].first if places else None
        await archive.check(partition)
        if (last := await archive.last(partition, fresh=False)) is not None:
            sealed_upto = last.head.last_position
        if sealed_upto < trimmed:
            problem = ends_early(sealed_upto, trimmed)
        sealed_events = await _sealed_events(log, archive, added, sealed_upto, trimmed)
    except StoreError as error:
        problem = str(error)
    if first is None and trimmed == start and size.events:
        entries = await log.entries_after(partition, start.entry_id, count=1)
        first = Position.of_entry(partition, entries[0][0])
    reached = {"dispatchers": await _dispatched(log, partition), "read model": projected}
    readers = [
        ReaderLag(reader=name, position=str(upto), lag_s=await _lag_s(log, upto))
        for name, upto in reached.items()
        if upto is not None
    ]
    return PartitionInfo(
        partition=partition,
        oldest=str(first) if first else None,
        newest=None if end == start else str(end),
        segments=segments,
        sealed_events=sealed_events,
        sealed_bytes=sealed_bytes,
        sealed_upto=None if sealed_upto == start else str(sealed_upto),
        trimmed_upto=None if trimmed == start else str(trimmed),
        live_events=size.events,
        live_bytes=size.memory_bytes,
        unsealed=await _count(log, max(sealed_upto, trimmed), added.last),
        readers=readers,
        problem=problem,
    )


async def _added(log: Log, partition: int) -> _Added:
    key, start = log.keys.log(partition), Position.start(partition)
    removed = await log.removed(partition)
    with translated():
        if not await log.redis.exists(key):
            return _Added(0, start, exact=False)
        info = await log.redis.xinfo_stream(key)
        last = Position.of_entry(partition, info["last-generated-id"])
        return _Added(int(info["entries-added"]), last, exact=removed.exact)


async def _sealed_events(
    log: Log, archive: Archive, added: _Added, sealed_upto: Position, trimmed: Position
) -> int:
    """Return how many entries the archive has; raises StoreError.

    The counters of a stream whose entries are all accounted for tell it, so that the index of each
    segment need not be read.
    """
    partition = added.last.partition
    if added.exact and trimmed <= sealed_upto <= added.last:
        return added.entries - await _count(log, sealed_upto, added.last)
    facts = await archive.chain(await archive.places(partition, fresh=False))
    return sum(each.head.entries for each in facts)


async def _count(log: Log, after: Position, upto: Position) -> int:
    """Return how many entries follow, up to another position."""
    count, start = 0, after.entry_id
    while page := await log.entries_after(after.partition, start, safe=False):
        count += sum(Position.of_entry(after.partition, each) <= upto for each, _ in page)
        if len(page) < READ_COUNT:
            break
        start = page[-1][0].decode()
    return count


async def _dispatched(log: Log, partition: int) -> Position | None:
    key = log.keys.log(partition)
    with translated():
        groups = await log.redis.xinfo_groups(key) if await log.redis.exists(key) else []
        for group in groups:
            if group["name"] == DISPATCH.encode():
                return Position.of_entry(partition, group["last-delivered-id"])
    return None


async def _lag_s(log: Log, upto: Position) -> float:
    waiting = await log.read(upto, count=1, safe=False)
    return max(0.0, time.time() - waiting[0].position.ms / 1000) if waiting else 0.0
