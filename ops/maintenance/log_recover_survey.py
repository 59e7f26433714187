"""Find out what a server still has of a log before any of it is recovered.

| partition | what happens to it |
|---|---|
| it has events | it is kept as it is |
| it has its id and no events, and none are left of it elsewhere | it never had any: the same |
| any other one, if the log has partitions with events | it was lost: it is recovered |

If no partition has events, all are recovered. What is kept must be of the same log: its partitions
have the log's id.
"""

from collections.abc import AsyncIterator, Sequence, Set
from typing import NamedTuple

import msgspec

from domain.photo.events import OriginalRestored, PhotoUploaded
from domain.pipeline.recoveries import LogRecovered
from ops.errors import UserError
from ops.maintenance import log_ownership
from ops.maintenance.log_import import WORKING_MS
from ops.maintenance.log_recover_sources import Remaining
from store.errors import Corrupt
from store.keys import Keys
from store.log import identity
from store.log.archived import Entries
from store.log.log import Log
from store.log.position import Position
from store.log.recovering import PARTITION_MARK, Mark
from store.log.stream import READ_COUNT
from store.queue import liveness
from store.redis.connection import translated


class Remains(NamedTuple):
    """The partitions that were ``lost``, and those that are ``kept``.

    ``former`` is how many partitions the log on the server says it has, and ``epoch`` its epoch.
    """

    lost: tuple[int, ...]
    kept: tuple[int, ...]
    former: int = 0
    epoch: int = 1


class Kept(NamedTuple):
    """The epoch and the originals that the kept partitions name; ``unread``: those not readable."""

    epoch: int
    originals: set[str]
    unread: list[str]


async def survey(log: Log, elsewhere: Set[int]) -> Remains:
    """Return what the server has of the log; events of the partitions ``elsewhere`` are left.

    Raises:
        UserError: the server has events of another log, or of an unfinished recovery, or workers
            run on it.
        Unavailable: a partition does not answer.
    """
    owner, former = await identity.find(log.redis, log.keys) or ("", 0)
    count = log.partitions
    if owner == log.log_id and former != count:
        raise UserError(
            f"the log on this server has {former} partitions, and the one to recover {count}: "
            f"correct {log_ownership.PARTITIONS} beside the photos, or --partitions"
        )
    filled = [each for each in range(max(count, former)) if await _has_events(log, each)]
    for partition in filled:
        await _check_kept(log, partition, owner)
    if await liveness.workers(log, WORKING_MS):
        raise UserError("workers run on this server: stop all roles before the recovery")
    epoch = await identity.epoch(log.redis, log.keys) if owner == log.log_id else 1
    if not filled:
        return Remains(tuple(range(count)), (), former, epoch)
    lost = [
        each
        for each in range(count)
        if each not in filled and (each in elsewhere or await is_lost(log, each))
    ]
    kept = tuple(each for each in range(count) if each not in lost)
    return Remains(tuple(lost), kept, former, epoch)


async def is_lost(log: Log, partition: int) -> bool:
    """Return whether the partition has neither events nor the id of the log."""
    return not await _has_events(log, partition) and await _owner(log, partition) != log.log_id


async def is_written(log: Log, begun: Mark, partition: int) -> bool:
    """Return whether the partition has what the recovery wrote, and nothing else from before it.

    If the recovery was interrupted while it ended, events may have followed in the new epoch.
    """
    if await _owner(log, partition) not in (PARTITION_MARK, log.log_id):
        return False
    last = begun.ends.get(partition)
    with translated():
        reply = await log.redis.xrange(log.keys.log(partition), last or "-", "+", count=2)
        found = [Position.of_entry(partition, each[0]) for each in msgspec.convert(reply, Entries)]
    if last is not None:
        if not found or found[0].entry_id != last:
            return False
        del found[0]
    return all(each.ms >= begun.begins_ms for each in found)


async def is_put_back(log: Log, partition: int) -> bool:
    """Return whether the partition, whose recovery has begun, has its events and its id again."""
    return await _has_events(log, partition) and await _owner(log, partition) == log.log_id


async def has_others(log: Log, partition: int, recovered: AsyncIterator[Remaining]) -> bool:
    """Return whether the partition has entries that its recovery, which has begun, did not write.

    ``recovered`` are the entries that it writes, in order; the event of the recovery may follow.
    """
    start, key = "-", log.keys.log(partition)
    next_one = await anext(recovered, None)
    while True:
        with translated():
            reply = await log.redis.xrange(key, start, "+", count=READ_COUNT)
            page = msgspec.convert(reply, Entries)
        if not page:
            return False
        for entry_id, fields in page:
            position = Position.of_entry(partition, entry_id)
            while next_one is not None and next_one.position < position:
                next_one = await anext(recovered, None)
            is_known = next_one is not None and next_one.position == position
            if not is_known and fields.get(b"t") != LogRecovered.TYPE.encode():
                return True
        start = f"({page[-1][0].decode()}"


def start_over(keys: Keys, begun: Mark) -> str:
    """Return what an operator must do before a recovery that has begun can begin again."""
    if not begun.lost:
        return "empty the server"
    written = " ".join(keys.log(each) for each in begun.lost)
    return f"delete the keys {keys.meta} {written} and no others"


def refusal(keys: Keys, begun: Mark, partition: int) -> str:
    """Return what an operator must do about events that have come back during a recovery."""
    written = " ".join(keys.log(each) for each in begun.writes if each != partition)
    others = f", and of {written} those that were not put back" if written else ""
    return (
        f"partition {partition} has events that this recovery did not write: they were put back "
        f"after it began, or are new. To keep them, delete the key {keys.meta}{others}, and "
        "recover the log again. To continue without them, delete "
        f"{keys.log(partition)}, and run the recovery again"
    )


async def read_kept(log: Log, partitions: Sequence[int]) -> Kept:
    """Read the partitions that are kept: which originals they name, and which epoch they know."""
    kept = Kept(1, set(), [])
    for partition in partitions:
        try:
            async for recorded in log.scan(partition):
                data = recorded.event.data
                if isinstance(data, LogRecovered):
                    kept = kept._replace(epoch=max(kept.epoch, data.epoch))
                elif isinstance(data, PhotoUploaded | OriginalRestored):
                    kept.originals.add(data.key)
        except Corrupt as error:
            kept.unread.append(
                f"partition {partition} is still there, and cannot be read as a whole, so nothing "
                f"is said about originals: {error}"
            )
    return kept


async def _has_events(log: Log, partition: int) -> bool:
    return await log.last_entry(partition) != Position.start(partition)


async def _owner(log: Log, partition: int) -> str | None:
    """Return the id of the log that the partition says it belongs to; None if it has none."""
    with translated():
        found = await log.redis.get(log.keys.identity(partition))
        value = msgspec.convert(found, bytes | None)
    return None if value is None else value.decode(errors="replace")


async def _check_kept(log: Log, partition: int, owner: str) -> None:
    """Check that the partition, which has events, is one of this log."""
    found = await _owner(log, partition) or owner
    if found == log.log_id:
        return
    key = log.keys.log(partition)
    if found == PARTITION_MARK:
        raise UserError(
            f"partition {partition} has events of a recovery that did not end, and the record of "
            f"that recovery is gone: delete {key}, and recover the log again"
        )
    raise UserError(
        f"partition {partition} on this server has events, and does not belong to log "
        f"{log.log_id}: only what Redis has lost of a log can be recovered. To recover into "
        "another server, empty it first"
    )
