"""The lease on the delivery of webhooks: one process has it, and reports through it.

| key | type | what |
|---|---|---|
| ``photolog:{00}:webhooks`` | hash, expires | ``owner``, and its ``report`` as MessagePack |

The holder renews it. If it ends without giving it back, the key expires and another process takes
the lease. A holder that cannot renew stops before that, by its own clock; what it notes later is
rejected (``note.lua``). So two processes may deliver the same event, but never forget one.
"""

import msgspec

from store.log.log import Log
from store.redis.connection import translated

PARTITION = 0
"""The partition in which everything about the delivery of webhooks is kept."""

LEASE_S = 10.0

RENEW_S = 2.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the delivery, by the process that delivers.

    ``behind_ms`` is the age of the oldest event that waits to be delivered, over all webhooks, and
    ``system_behind_ms`` over those without a client. ``failing`` counts the webhooks whose last
    attempt failed, ``unsigned`` those whose secret this process cannot derive.
    """

    behind_ms: int = 0
    system_behind_ms: int = 0
    failing: int = 0
    unsigned: int = 0


class Lease:
    """The lease as one process sees it; ``owner`` is unique among all processes."""

    def __init__(self, log: Log, owner: str) -> None:
        self.owner = owner
        self._key = log.keys.webhooks(PARTITION)
        self._take = log.redis.lua("webhooks/take")
        self._give_back = log.redis.lua("webhooks/give_back")

    async def take(self, report: Report) -> bool:
        """Take or renew the lease for ``LEASE_S``; return whether this process has it.

        Raises:
            Unavailable: no answer; this process may have it.
        """
        with translated():
            reply = await self._take(
                keys=[self._key],
                args=[self.owner, int(LEASE_S * 1000), msgspec.msgpack.encode(report)],
            )
        return reply == 1

    async def give_back(self) -> None:
        """Let another process take the lease at once; raises Unavailable."""
        with translated():
            await self._give_back(keys=[self._key], args=[self.owner])


async def read_report(log: Log) -> Report | None:
    """Return the last report of the process that delivers; None if none does.

    Raises:
        Unavailable: Redis does not answer.
    """
    with translated():
        found = await log.redis.hget(log.keys.webhooks(PARTITION), "report")
        body = msgspec.convert(found, bytes | None)
        return None if body is None else msgspec.msgpack.decode(body, type=Report)
