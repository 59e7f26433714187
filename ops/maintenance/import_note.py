"""The notes about imports in ``photolog:meta``, where every process can see them.

| field | what |
|---|---|
| ``importing`` | the SHA-256 of the file of an import that has begun and not ended |
| ``imported`` | that of one that has ended |
| ``imported-upto`` | where the log ended then: positions, with commas |
| ``imported-events`` | where the imported events end, before what the import appends: likewise |
"""

from typing import NamedTuple

import msgspec

from ops.errors import UserError
from store.log.log import Log
from store.redis.connection import translated

IMPORTING, IMPORTED, UPTO = "importing", "imported", "imported-upto"
EVENTS = "imported-events"

REMOVING = "removing"
"""Stands in ``importing`` while the events of an earlier import are removed."""


class Notes(NamedTuple):
    """Each is None if there is no such note."""

    importing: str | None
    imported: str | None
    upto: str | None
    events: str | None


async def read(log: Log) -> Notes:
    """Return the notes; raises Unavailable."""
    with translated():
        reply = await log.redis.hmget(log.keys.meta, [IMPORTING, IMPORTED, UPTO, EVENTS])
        found = msgspec.convert(reply, list[bytes | None])
    return Notes(*(None if each is None else each.decode("utf-8", "replace") for each in found))


async def begin(log: Log, digest: str) -> None:
    with translated():
        await log.redis.hset(log.keys.meta, IMPORTING, digest)
        await log.redis.hdel(log.keys.meta, IMPORTED, UPTO, EVENTS)


async def confirm(log: Log, digest: str) -> None:
    """Raise UserError if this is not the import that has begun and not ended."""
    if (await read(log)).importing != digest:
        raise UserError(
            "another import into this log has begun or ended meanwhile: wait for its end, or if it "
            "was interrupted, run the one again whose events are to be there"
        )


async def end(log: Log, digest: str, *, upto: str, events: str) -> None:
    """Note that the import has ended; afterwards roles may start."""
    with translated():
        await log.redis.hset(log.keys.meta, mapping={IMPORTED: digest, UPTO: upto, EVENTS: events})
        await log.redis.hdel(log.keys.meta, IMPORTING)


async def refuse_unfinished(log: Log) -> None:
    """Raise UserError if an import has not ended: the log has only a part of its events."""
    if (await read(log)).importing is not None:
        raise UserError(
            "an import into this log was interrupted: run `photolog log import` again, with the "
            "same file or another one"
        )
