"""Decides what an answer promises: whether a failover can take back a confirmed event.

| key | type | what |
|---|---|---|
| ``photolog:meta`` | hash | ``replicated``: by default appends have waited for replicas |

Redis replicates after it has answered. An append that waits for a replica is safe from the failover
of its master; any other append is not. By default appends wait where there are replicas to wait
for. The log remembers that there were, so a process that starts while they are down does not drop
the promise that the others keep.
"""

import msgspec

from store.errors import Denied, UnsuitableServer, WrongType
from store.keys import Keys
from store.redis.cluster import Cluster
from store.redis.connection import Client, Wait, translated
from store.redis.preflight import can_tell, can_wait, most_replicas

REPLICATED = "replicated"

ONE_SERVER = (
    "the log is on one server without a replica: if its disk is lost, so are all events since the "
    "last backup"
)
NO_REPLICAS = (
    "no master of the cluster has a replica: if the disk of one is lost, so are the events of its "
    "partitions since the last backup. Add replicas, then restart all roles"
)
NOT_WAITING = "a failover may lose events that were answered, because appends do not wait for a "


TRY_S = 4.0
"""Longer than a replica with ``appendfsync everysec`` takes."""


class Guarantee(msgspec.Struct, frozen=True, kw_only=True):
    """``wait`` is what an append waits for; ``risk`` describes what may be lost nevertheless.

    ``can_fail_over`` is whether a failover may lose a confirmed event.
    """

    wait: Wait | None = None
    risk: str = ""
    can_fail_over: bool = False

    @property
    def falls_short(self) -> bool:
        """Whether a failover may lose a confirmed event although no setting allows it."""
        return self.can_fail_over and self.wait is None


async def guarantee(
    redis: Client, keys: Keys, *, replicas: int | None, timeout_s: float, tries: bool = True
) -> Guarantee:
    """Return what appends wait for: this many ``replicas``, or what suits the servers if None.

    With ``tries`` it writes to the server to test it.

    Raises:
        UnsuitableServer: ``replicas`` is a number, and the server cannot say what is on its disk
            and theirs.
        Unavailable: no answer, or there are too few replicas now.
    """
    if replicas is None:
        return await _default(redis, keys, timeout_s, tries=tries)
    wait = Wait(replicas=replicas, timeout_s=timeout_s)
    await can_wait(redis, wait)
    if replicas:
        return Guarantee(wait=wait)
    return await _unreplicated(redis, wait, "replica (the setting is 0)")


async def keep(redis: Client, keys: Keys, given: Guarantee) -> None:
    """Record that appends wait for replicas by default, for processes that start later."""
    if given.wait is not None and given.wait.replicas:
        with translated():
            await redis.hset(keys.meta, REPLICATED, "1")


async def _default(redis: Client, keys: Keys, timeout_s: float, *, tries: bool) -> Guarantee:
    if not isinstance(redis, Cluster):
        return await _unreplicated(redis, None, "replica: set PHOTOLOG_APPEND_WAIT_REPLICAS to 1")
    if not await most_replicas(redis) and not await _has_waited(redis, keys):
        return Guarantee(risk=NO_REPLICAS)
    try:
        await can_tell(redis)
        if tries:
            await _try(redis, keys)
    except (Denied, UnsuitableServer) as error:
        return Guarantee(risk=f"{NOT_WAITING}replica: {error}", can_fail_over=True)
    return Guarantee(wait=Wait(replicas=1, timeout_s=timeout_s))


async def _try(redis: Client, keys: Keys) -> None:
    """Raise UnsuitableServer if a replica has a write in memory and never on its disk."""
    wait = Wait(replicas=1, timeout_s=TRY_S)
    with translated():
        replies = await redis.in_a_row(("SET", keys.settled(0), ""), *wait.commands)
        is_behind = replies[1] >= 1 and replies[-1][1] == 0
    if is_behind:
        raise UnsuitableServer("the replicas have no append-only file: set their appendonly to yes")


async def _unreplicated(redis: Client, wait: Wait | None, why: str) -> Guarantee:
    if await most_replicas(redis):
        return Guarantee(wait=wait, risk=f"{NOT_WAITING}{why}", can_fail_over=True)
    risk = NO_REPLICAS if isinstance(redis, Cluster) else ONE_SERVER
    return Guarantee(wait=wait, risk=risk)


async def _has_waited(redis: Client, keys: Keys) -> bool:
    try:
        with translated():
            return await redis.hget(keys.meta, REPLICATED) is not None
    except WrongType:  # not a log: opening it says so
        return False
