"""Wait for a server that a role needs at its start, and log why."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from store.errors import Denied, Full, Unavailable
from store.outage import Outage

logger = logging.getLogger("photolog")

REMIND_S = 30.0

T = TypeVar("T")


def outage_of(what: str) -> Outage:
    """Return the outage of a server, ``what`` in the log lines, with a reminder now and then."""
    return Outage(logger, f"waiting for {what}", remind_s=REMIND_S)


async def until_available(what: str, work: Callable[[], Awaitable[T]]) -> T:
    """Repeat ``work``, which must be idempotent, until the servers that it needs answer.

    Raises:
        Denied: a server rejects our credentials, which waiting does not change.
    """
    outage = outage_of(what)
    while True:
        try:
            return await work()
        except Denied:
            raise
        except (Unavailable, Full) as error:
            await outage.wait(error, least_s=error.retry_after_s)
