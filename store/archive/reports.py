"""What keeps a partition from being archived, as its archiver reports it, for health.

| key | type | what |
|---|---|---|
| ``photolog:{07}:unarchived`` | string | ``_Report`` as JSON |

A report is repeated while the problem lasts, and expires ``KEPT_S`` after the last time.
"""

from collections.abc import Mapping

import msgspec

from store.concurrently import for_each
from store.errors import ArchiveAway, Corrupt, Full, StoreError
from store.log.log import Log
from store.redis.connection import translated

KEPT_S = 900.0
LONGEST = 1_000
"""Characters of a report that are kept."""


class _Report(msgspec.Struct, frozen=True):
    problem: str


_decoder = msgspec.json.Decoder(_Report)


async def report(log: Log, partition: int, error: StoreError) -> None:
    """Report the error. What names servers and paths stays in the archiver's log.

    Raises:
        Unavailable: Redis does not answer.
    """
    match error:
        case Full():  # its message may have a path of the archiver's machine
            problem = f"partition {partition}: the archive has no space left"
        case Corrupt():
            problem = str(error)[:LONGEST]
        case _:
            where = error.where if isinstance(error, ArchiveAway) else ""
            where = where or f"partition {partition}"
            problem = f"{where}: the archiver cannot use its storage or Redis; its log says why"
    with translated():
        await log.redis.set(
            log.keys.unarchived(partition),
            msgspec.json.encode(_Report(problem)),
            px=int(KEPT_S * 1000),
        )


async def withdraw(log: Log, partition: int) -> None:
    """Say that the partition is archived again; raises Unavailable."""
    with translated():
        await log.redis.pexpire(log.keys.unarchived(partition), 0)


async def doubted(log: Log, partition: int) -> str | None:
    """Return the key of a segment that a reader could not use; raises Unavailable."""
    with translated():
        reply = await log.redis.get(log.keys.doubted(partition))
        value = msgspec.convert(reply, bytes | None)
    return value.decode(errors="replace") if value else None


async def trust(log: Log, partition: int) -> None:
    """Say that readers can use the segment again; raises Unavailable."""
    with translated():
        await log.redis.pexpire(log.keys.doubted(partition), 0)


async def reports(log: Log) -> Mapping[int, str]:
    """Return what keeps partitions from being archived; raises Unavailable."""

    async def of(partition: int) -> str | None:
        with translated():
            reply = await log.redis.get(log.keys.unarchived(partition))
            value = msgspec.convert(reply, bytes | None)
        try:
            return _decoder.decode(value).problem if value else None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    found = await for_each(of, range(log.partitions))
    return {partition: each for partition, each in enumerate(found) if each is not None}
