"""Check that blobs and log belong together: a wrong URL must not mix two systems.

The blobs hold the id of the log that names them, and its number of partitions, without which it
could not be recovered; the first process that uses both writes them.
"""

from ops.errors import UserError
from store.blobs.interface import Blobs, Readable
from store.errors import Missing
from store.log.log import Log
from store.log.position import Position

KEY = "log/id"
PARTITIONS = "log/partitions"


async def check(log: Log, blobs: Blobs, *, setting: str) -> None:
    """Make sure that the blobs belong to this log.

    Blobs that belong to no log yet are assigned to this one if it has no events: both are new then.
    A log with events already has blobs elsewhere. ``setting`` names the setting that locates the
    blobs.

    Raises:
        UserError: the blobs belong to another log, or to none while the log has events.
    """
    if await refuse_others(log, blobs, setting=setting):
        await _note_partitions(log, blobs)
        return
    for partition in range(log.partitions):
        if await log.end(partition) != Position.start(partition):
            raise UserError(
                f"{setting}: these photos belong to no log, but log {log.log_id} has events, so "
                "its photos are elsewhere. If these are its photos nevertheless, write its id to "
                f"{KEY} beside them"
            )
    await blobs.put(KEY, log.log_id.encode())
    await _note_partitions(log, blobs)


async def partitions_of(blobs: Readable) -> int | None:
    """Return how many partitions the log of these blobs has; None if no process has noted it."""
    try:
        return int(b"".join([chunk async for chunk in blobs.read(PARTITIONS)]))
    except (Missing, ValueError):
        return None


async def _note_partitions(log: Log, blobs: Blobs) -> None:
    if await partitions_of(blobs) != log.partitions:
        await blobs.put(PARTITIONS, b"%d" % log.partitions)


async def refuse_others(log: Log, blobs: Blobs, *, setting: str) -> bool:
    """Return whether the blobs belong to this log: false if they belong to none.

    Raises:
        UserError: they belong to another log.
    """
    try:
        owner = b"".join([chunk async for chunk in blobs.read(KEY)]).decode("utf-8", "replace")
    except Missing:
        return False
    if owner != log.log_id:
        raise UserError(
            f"{setting} and PHOTOLOG_REDIS_URL belong to two systems: the photos belong to "
            f"log {owner}, and Redis holds log {log.log_id}. Correct one of the two; if log "
            f"{owner} is lost for good, remove {KEY} from the photos"
        )
    return True
