"""Lanes and timers: the tasks that wait, and those that a consumer holds.

| key | type | what |
|---|---|---|
| ``photolog:{07}:stage:<stage>:<lane>`` | stream, group ``<stage>`` | tasks, until acknowledged |
| ``photolog:{07}:timers`` | sorted set | delayed tasks, scored by their due time; ``kept`` |

``turns`` decides which waiting task is next: the tasks of a client in order, clients in turn by
cost. A task is delivered at least once; only the append of its result acknowledges it. A held task
stays in its lane, as a pending entry of its consumer. Another consumer takes it over: at once if
the holder is known to be dead, otherwise after a time without ``refresh``. It counts as a stall
only if the holder had begun it: a claim does, and ``begin``. A retry waits in the timers until it
is due. Lanes and timers can be lost: see ``losses`` and ``recovery``.
"""

import logging
from collections.abc import Sequence
from datetime import datetime

import msgspec

from domain.pipeline.stages import LANES, Task, lane
from store.errors import Corrupt
from store.keys import Keys
from store.log import codec
from store.log.log import Claim, Log
from store.queue import known_stages, losses
from store.queue.consumers import (
    Entries,
    create_group,
    has_group,
    pending,
    remove,
    remove_idle,
    take_over,
)
from store.queue.turns import ClaimRequest, Turns
from store.redis.connection import translated

logger = logging.getLogger("photolog.lanes")

TIMERS_KEPT = "kept"
"""A member that is always in the timers and never due: if it is missing, tasks may be lost."""

PROMOTED_AT_ONCE = 100

BATCHES_AT_ONCE = 10
"""How many pages of a thousand tasks one promotion reads, if it does not know their stages."""

LOW_FIRST_EVERY, NORMAL_FIRST_EVERY = 16, 8
"""One in so many tasks is claimed from the low lanes first, and one from the normal lanes, so that
tasks there move however many are urgent. Urgent tasks lose at most a sixth of the work."""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A task and the claim that holds it; ``deliveries`` is 1 + how often it stalled before.

    ``clients`` counts the clients that waited in its lane when it was claimed, including its own.
    """

    task: Task
    claim: Claim
    deliveries: int = 1
    clients: int = 1


class Lanes:
    """Hands out tasks to one consumer. It notes where tasks may be missing; workers refill them."""

    def __init__(self, log: Log, consumer: str, stages: tuple[str, ...]) -> None:
        self._log = log
        self._redis = log.redis
        self.consumer = consumer
        self.stages = stages
        self._turns = Turns(log, consumer, stages)
        self._refresh = log.redis.lua("queue/refresh")
        self._release = log.redis.lua("queue/release")
        self._promote = log.redis.lua("queue/promote")
        self._seen: dict[str, str] = {}
        self._passed: dict[int, int] = {}
        self._claims = 0

    async def prepare(self, partition: int) -> None:
        """Create the groups of all lanes; note a loss first if tasks may be missing.

        They may be missing if a group is new on a log with events, unless its stage is new, too.
        """
        timers = self._log.keys.timers(partition)
        with translated():
            if await self._redis.type(timers) not in (b"none", b"zset"):
                await self._redis.pexpire(timers, 0)
            has_timers = await self._redis.zscore(timers, TIMERS_KEPT) is not None
        lanes = self._log.keys.lanes(partition, self.stages)
        missing = [each for each in lanes if not await has_group(self._redis, *each)]
        new: frozenset[str] = frozenset()
        if missing:
            new = await known_stages.are_new(self._log, partition, self.stages)
        if not has_timers or any(stage not in new for _, stage in missing):
            if (await self._log.end(partition)).ms > 0:
                await losses.note(self._log, partition)
            with translated():
                await self._redis.zadd(timers, {TIMERS_KEPT: "+inf"}, nx=True)
        for key, stage in missing:
            await create_group(self._redis, key, stage)
        await known_stages.report(self._log, partition, self.stages)
        if again := await self._turns.mend(partition):
            logger.warning("partition %d: rebuilding the turns of %d lanes", partition, again)

    async def claim(
        self, partition: int, count: int, request: ClaimRequest | None = None
    ) -> list[Claimed]:
        """Claim up to ``count`` waiting tasks.

        High lanes come first, except for the share of the others; within the lanes of one
        priority, clients take turns.
        """
        request = request or ClaimRequest(stages=self.stages)
        if not any(stage in request.stages for stage in self.stages):
            return []
        orders: list[tuple[str, ...]] = [_order(self._claims + n) for n in range(1, count + 1)]
        if request.above is not None:
            orders = [LANES[: LANES.index(request.above)]] * count
        turns = await self._turns.claim(partition, orders, request)
        self._claims += max(1, len(turns)) if request.above is None else len(turns)
        found = [(each.lane_key, each.stage, each.entry_id, each.body, 1) for each in turns]
        clients = {(each.lane_key, each.entry_id): each.clients for each in turns}
        return [
            msgspec.structs.replace(
                each, clients=clients[each.claim.lane_key, each.claim.entry_id.encode()]
            )
            for each in await self._decoded(partition, found)
        ]

    async def refresh(self, claims: Sequence[Claim]) -> list[bool]:
        """Reset the idle time of the claims; return False for each that is no longer held.

        All claims must be of one partition.
        """
        return await self._refreshed(claims, "") if claims else []

    async def begin(self, claimed: Claimed) -> bool:
        """Count a task as begun that was not begun at its claim; False if it is no longer held."""
        [held] = await self._refreshed([claimed.claim], claimed.deliveries)
        return held

    async def _refreshed(self, claims: Sequence[Claim], deliveries: int | str) -> list[bool]:
        named = [x for claim in claims for x in (claim.group, claim.entry_id, deliveries)]
        with translated():
            reply = await self._refresh(
                keys=[claim.lane_key for claim in claims], args=[self.consumer, *named]
            )
            return [held == 1 for held in msgspec.convert(reply, list[int])]

    async def release(self, claims: Sequence[Claim]) -> int:
        """Put tasks back at the end of their lanes; return how many were still held.

        All claims must be of one partition.
        """
        if not claims:
            return 0
        with translated():
            named = [x for claim in claims for x in (claim.group, claim.entry_id)]
            reply = await self._release(
                keys=[claim.lane_key for claim in claims], args=[self.consumer, *named]
            )
            return sum(msgspec.convert(reply, list[int]))

    async def promote(
        self, partition: int, *, all_of: str | None = None
    ) -> tuple[int, float | None]:
        """Move due tasks to their lanes, up to ``PROMOTED_AT_ONCE``.

        Returns how many, and the seconds until the next is due, or None. If ``all_of`` names a
        stage, all of its tasks are moved, due or not.

        Tasks of unknown stages stay. If there are very many of them, the next call continues after
        those that this one has seen.
        """
        stages = self.stages if all_of is None else (all_of,)
        passed = self._passed.pop(partition, 0) if all_of is None else 0
        moved, batches = 0, 0
        while True:
            more, next_ms, passed = await self._promote_batch(
                partition, stages, PROMOTED_AT_ONCE - moved, passed, due_only=all_of is None
            )
            moved, batches = moved + more, batches + 1
            if passed < 0 or moved == PROMOTED_AT_ONCE:
                break
            if all_of is None and batches == BATCHES_AT_ONCE:
                break
        if all_of is None:
            self._passed[partition] = max(0, passed)
        return moved, None if next_ms < 0 else next_ms / 1000

    async def _promote_batch(
        self, partition: int, stages: tuple[str, ...], most: int, passed: int, *, due_only: bool
    ) -> tuple[int, int, int]:
        """Return how many were moved, the ms until the next is due (-1 if none is), and how many
        members to skip next (-1 at the end)."""
        lanes = self._log.keys.lanes(partition, stages)
        with translated():
            reply = await self._promote(
                keys=[
                    self._log.keys.timers(partition),
                    self._log.keys.losses(partition),
                    *(key for key, _ in lanes),
                ],
                args=[
                    most,
                    "0" if due_only else "1",
                    passed,
                    TIMERS_KEPT,
                    *(f"{stage}:{self._log.keys.lane_of(key)}" for key, stage in lanes),
                ],
            )
            moved, next_ms, passed, removed = msgspec.convert(reply, tuple[int, int, int, int])
        if removed:  # the tasks that they replaced are recovered from the log
            logger.warning("removed %d invalid timers of partition %d", removed, partition)
        return moved, next_ms, passed

    async def recall(self, partition: int) -> list[Claimed]:
        """Return all tasks that this consumer holds.

        After a lost reply, they include tasks that the consumer does not know of. Whether such a
        task was begun is not known: it counts once.
        """
        found: list[tuple[str, str, bytes, bytes, int]] = []
        for key, stage in self._log.keys.lanes(partition, self.stages):
            with translated():
                entries = await pending(self._redis, key, stage, self.consumer)
            found += [
                (key, stage, each, fields.get(b"b", b""), max(1, n)) for each, fields, n in entries
            ]
        return await self._decoded(partition, found)

    async def abandoned(self, partition: int, *, idle_ms: int, dead: str | None) -> list[Claimed]:
        """Take over tasks of consumers that are gone, as ``Dispatch.abandoned`` does.

        This begins none of them: ``begin`` does.
        """
        found: list[tuple[str, str, bytes, bytes, int]] = []
        for key, stage in self._log.keys.lanes(partition, self.stages):
            entries = await take_over(self._redis, key, stage, self.consumer, idle_ms, dead)
            found += [
                (key, stage, each, fields.get(b"b", b""), 1 + n) for each, fields, n in entries
            ]
        return await self._decoded(partition, found)

    async def forget_idle(self, partition: int, *, idle_ms: int) -> None:
        """Remove the consumers that hold nothing and have been idle for ``idle_ms``."""
        for key, stage in self._log.keys.lanes(partition, self.stages):
            await remove_idle(self._redis, key, stage, idle_ms=idle_ms)

    async def leave(self, partition: int) -> None:
        """Remove this consumer from the groups in which it holds nothing."""
        for key, stage in self._log.keys.lanes(partition, self.stages):
            await remove(self._redis, key, stage, self.consumer)

    async def wait(self, partition: int, *, block_ms: int) -> None:
        """Return when a task has been added to any lane since the last call, or after ``block_ms``.

        Each call starts where the last one ended, so a task added between two calls is not missed.
        """
        keys = [key for key, _ in self._log.keys.lanes(partition, self.stages)]
        with translated():
            found = await self._redis.xread(
                {key: self._seen.get(key, "0-0") for key in keys}, count=1, block=block_ms
            )
            reply = msgspec.convert(found or {}, dict[bytes, Entries])
            for key in reply:
                last = msgspec.convert(await self._redis.xrevrange(key, "+", "-", count=1), Entries)
                seen = last[0][0] if last else reply[key][0][0]
                self._seen[key.decode()] = seen.decode()

    async def _decoded(
        self, partition: int, found: list[tuple[str, str, bytes, bytes, int]]
    ) -> list[Claimed]:
        """Decode the tasks of ``(lane key, stage, entry id, body, deliveries)``.

        An invalid entry is removed, or it would be redelivered forever; the task that it replaced
        is recovered from the log.
        """
        tasks: list[Claimed] = []
        for key, stage, entry_id, body, deliveries in found:
            with translated():
                claim = Claim(
                    lane_key=key, group=stage, entry_id=entry_id.decode(), consumer=self.consumer
                )
            try:
                task = codec.decode_task(body)
            except Corrupt as error:
                logger.warning("removed entry %s of %s: %s", claim.entry_id, key, error)
                await losses.note(self._log, partition)
                with translated():
                    await self._redis.xack(key, stage, entry_id)
                    await self._redis.xdel(key, entry_id)
                continue
            tasks.append(Claimed(task=task, claim=claim, deliveries=deliveries))
        return tasks


def place_of(keys: Keys, partition: int, task: Task) -> str:
    """Return where the task waits: its lane, or the timers until it is due."""
    if task.due is not None:
        return keys.timers(partition)
    return keys.lane(partition, task.stage, lane(task.priority))


def due_ms(task: Task) -> int | None:
    """Return the time before which the task must not run, in ms since 1970."""
    if task.due is None:
        return None
    return round(datetime.fromisoformat(task.due).timestamp() * 1000)


def entry_of(task: Task) -> bytes:
    """Encode the task as an entry of a lane; for the timers, preceded by the lane's name."""
    body = codec.encode_task(task)
    if task.due is None:
        return body
    return f"{task.stage}:{lane(task.priority)}:".encode() + body


def task_of_timer(member: bytes) -> Task:
    """Decode a member of the timers; raises Corrupt."""
    return codec.decode_task(member.split(b":", 2)[-1])


def _order(claims: int) -> tuple[str, ...]:
    high, normal, low = LANES
    if claims % LOW_FIRST_EVERY == 0:
        return low, normal, high
    if claims % NORMAL_FIRST_EVERY == 0:
        return normal, high, low
    return LANES
