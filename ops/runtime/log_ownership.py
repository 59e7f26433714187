"""Blobs and log that belong together: a wrong URL must not make one system of two.

The blobs hold the id of the log that names them, from the first process that joins the two.
"""

from ops.errors import UserError
from store.blobs.interface import Blobs
from store.errors import Missing
from store.log.log import Log
from store.log.position import Position

KEY = "log/id"


async def check(log: Log, blobs: Blobs, *, setting: str) -> None:
    """Make sure that the blobs are those of this log.

    Blobs that belong to no log yet are given to this one, if it has no events: both are new then.
    A log with events has blobs already, so these are not them. ``setting`` is the one that says
    where the blobs are.

    Raises:
        UserError: they are of another log, or of none and the log has events.
    """
    if await refuse_others(log, blobs, setting=setting):
        return
    for partition in range(log.partitions):
        if await log.end(partition) != Position.start(partition):
            raise UserError(
                f"{setting}: these pictures belong to no log, and log {log.log_id} has events, so "
                f"its own are elsewhere. If they are its own nevertheless, write its id to {KEY} "
                "beside them"
            )
    await blobs.put(KEY, log.log_id.encode())


async def refuse_others(log: Log, blobs: Blobs, *, setting: str) -> bool:
    """Whether the blobs are of this log; false for blobs of no log. Raises as ``check``."""
    try:
        owner = b"".join([chunk async for chunk in blobs.read(KEY)]).decode("utf-8", "replace")
    except Missing:
        return False
    if owner != log.log_id:
        raise UserError(
            f"{setting} and PHOTOLOG_REDIS_URL belong to two systems: the pictures are those of "
            f"log {owner}, and Redis holds log {log.log_id}. Should the first be lost for good, "
            f"remove {KEY} from the pictures"
        )
    return True
