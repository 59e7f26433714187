"""Reads the events of a log by position: one Redis Stream per partition.

| what stands in a stream | what a reader does |
|---|---|
| an event | returns it |
| an entry with all of ``FIELDS`` that this code cannot decode | raises Corrupt |
| a foreign entry: anything else, written by another program | skips it |

The second may be damaged, or of a newer version: skipping it would lose facts. A foreign entry is
not an event: the dispatcher that finds one logs it, health reports it, and an audit lists each.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from domain.photo.events import Event
from store.errors import Corrupt
from store.keys import Keys
from store.log import codec
from store.log.position import Position
from store.redis.connection import Client, Wait, translated
from store.redis.durability import Durability

READ_COUNT = 500

FIELDS = frozenset((b"t", b"p", b"v", b"b"))
"""The fields of every event's entry: type, photo, version and body."""

Entries = list[tuple[bytes, dict[bytes, bytes]]]

_NOTHING: Entries = []


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place in the log and its stored bytes."""

    position: Position
    event: Event
    body: bytes


class Stream:
    """Reads the streams under ``keys``; with ``wait``, only events that are safe."""

    def __init__(self, redis: Client, keys: Keys, wait: Wait | None = None) -> None:
        self.redis = redis
        self.keys = keys
        self.durability = Durability(redis, keys, wait)

    async def read(
        self,
        after: Position,
        *,
        count: int = READ_COUNT,
        block_ms: int | None = None,
        safe: bool = True,
    ) -> list[Recorded]:
        """Return the next events after ``after`` in its partition; wait ``block_ms`` for the first.

        The list is empty only if no event follows. Without ``safe``, a failover may take back what
        is returned: use it only to count or to look something up.

        Raises:
            Unavailable: no answer, or what follows is not known to be safe.
        """
        start = after.entry_id
        while entries := await self._entries(
            after.partition, start, count=count, block_ms=block_ms, safe=safe
        ):
            events, _ = sift(after.partition, entries)
            if events:
                return events
            start = entries[-1][0].decode()
        return []

    async def at(self, position: Position, *, safe: bool = True) -> Recorded | None:
        """Return the event at the position, None if the log has none there; raises as ``read``."""
        found = await self.read(position.before, count=1, safe=safe)
        return found[0] if found and found[0].position == position else None

    async def _entries(
        self, partition: int, start: str, *, count: int, block_ms: int | None, safe: bool
    ) -> Entries:
        """The next entries of the stream, whatever they are."""
        key = self.keys.log(partition)
        confirmed = safe and self.durability.wait is not None
        if not confirmed or block_ms is not None:
            with translated():
                reply = await self.redis.xread({key: start}, count=count, block=block_ms)
                found = entries_of_one(reply)
            if not (confirmed and found):
                return found
        reply = await self.durability.read(
            partition, "XREAD", "COUNT", count, "STREAMS", key, start
        )
        with translated():
            return entries_of_one(reply)

    async def settle(self, partition: int) -> None:
        """See ``Durability.settle``."""
        await self.durability.settle(partition)

    async def scan(
        self, partition: int, *, after: Position | None = None
    ) -> AsyncIterator[Recorded]:
        """Yield every event of the partition ``after`` a position, in order, up to the end."""
        position = after or Position.start(partition)
        while page := await self.read(position):
            for recorded in page:
                yield recorded
            position = page[-1].position

    async def now(self) -> datetime:
        """Return the time by the server's clock, which also stamps the log's entries."""
        redis: Any = self.redis
        with translated():
            seconds, micros = msgspec.convert(await redis.time(), tuple[int, int])
            return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)

    async def end(self, partition: int) -> Position:
        """Return the position of the partition's last event."""
        before = "+"
        while entries := await self._back(partition, before):
            entry_id, fields = entries[0]
            if not is_foreign(fields):
                return Position.of_entry(partition, entry_id)
            before = f"({entry_id.decode()}"
        return Position.start(partition)

    async def last_entry(self, partition: int) -> Position:
        """Return the position of the stream's last entry, event or foreign."""
        entries = await self._back(partition, "+")
        return Position.of_entry(partition, entries[0][0]) if entries else Position.start(partition)

    async def _back(self, partition: int, before: str) -> Entries:
        with translated():
            reply = await self.redis.xrevrange(self.keys.log(partition), before, "-", count=1)
            return msgspec.convert(reply, Entries)


def entries_of_one(reply: object) -> Entries:
    """Return the entries in a reply about a single stream; raises ValueError for another kind."""
    if reply in (None, [], {}):  # which of these means "none" depends on the driver's version
        return _NOTHING
    return next(iter(msgspec.convert(reply, dict[bytes, Entries]).values()), _NOTHING)


def is_foreign(fields: dict[bytes, bytes]) -> bool:
    """Return whether an entry with these fields is not an event."""
    return not fields.keys() >= FIELDS


def sift(partition: int, entries: Entries) -> tuple[list[Recorded], list[bytes]]:
    """Split the entries into events and the ids of foreign entries; raises Corrupt."""
    events: list[Recorded] = []
    foreign: list[bytes] = []
    for entry_id, fields in entries:
        if is_foreign(fields):
            foreign.append(entry_id)
            continue
        body = fields[b"b"]
        position = Position.of_entry(partition, entry_id)
        try:
            event = codec.decode_event(body)
        except Corrupt as error:
            raise Corrupt(f"{position}: {error}") from error
        events.append(Recorded(position=position, event=event, body=body))
    return events, foreign
