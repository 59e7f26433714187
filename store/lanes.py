"""From events to work: the dispatch group of the log, and the lanes of each stage.

| key | type | what |
|---|---|---|
| ``photolog:{07}:log`` | stream, group ``dispatch`` | events not yet planned |
| ``photolog:{07}:stage:<stage>:<lane>`` | stream, group ``<stage>`` | tasks, until acknowledged |

A task is delivered at least once; it is acknowledged by the append of its result, or not at all.
What a dead consumer held is taken over: at once where it is known to be dead (``adopt``), after a
time without ``refresh`` elsewhere (``stalled``).
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
from redis import exceptions
from redis.asyncio import Redis

from domain.pipeline import Task, lane
from store import codec
from store.client import script, translated
from store.errors import Corrupt
from store.log import Claim, Log, Recorded
from store.position import Position

logger = logging.getLogger("photolog.lanes")

DISPATCH = "dispatch"

Entries = list[tuple[bytes, dict[bytes, bytes]]]

_NOTHING: Entries = []


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A task and the claim under which it is held; ``deliveries`` is 1 + how often it stalled."""

    task: Task
    claim: Claim
    deliveries: int = 1


class Dispatch:
    """Reads events as one of the dispatchers and turns them into tasks."""

    def __init__(self, log: Log, consumer: str) -> None:
        self._log = log
        self._redis = log.redis
        self._consumer = consumer
        self._script = log.redis.register_script(script("dispatch"))

    async def prepare(self) -> None:
        """Create the groups; they start at the first event of the log."""
        for partition in range(self._log.partitions):
            await _create_group(self._redis, self._log.keys.log(partition), DISPATCH)

    async def read(self, partition: int, *, count: int, block_ms: int) -> list[Recorded]:
        """Events that no dispatcher has read, now pending for this one."""
        key = self._log.keys.log(partition)
        with translated():
            reply = cast(
                "dict[bytes, Entries]",
                await self._redis.xreadgroup(
                    DISPATCH, self._consumer, {key: ">"}, count=count, block=block_ms
                ),
            )
        return _recorded(partition, next(iter(reply.values()), _NOTHING))

    async def recall(self, partition: int) -> list[Recorded]:
        """Events read by this dispatcher whose delivery it may not have seen: a reply was lost."""
        key = self._log.keys.log(partition)
        with translated():
            entries = await _pending(self._redis, key, DISPATCH, self._consumer)
        return _recorded(partition, [(entry_id, fields) for entry_id, fields, _ in entries])

    async def commit(self, planned: Sequence[tuple[Position, tuple[Task, ...]]]) -> None:
        """Put the tasks on their lanes and acknowledge the events of one partition, in one step."""
        if not planned:
            return
        partition = planned[0][0].partition
        keys = [self._log.keys.log(partition)]
        index: dict[str, int] = {}
        args: list[str | bytes | int] = [DISPATCH, self._consumer, len(planned)]
        for position, tasks in planned:
            args += [position.entry_id, len(tasks)]
            for task in tasks:
                key = self._log.keys.lane(partition, task.stage, lane(task.priority))
                if key not in index:
                    keys.append(key)
                    index[key] = len(keys)
                args += [index[key], codec.encode_task(task)]
        with translated():
            await self._script(keys=keys, args=args)

    async def abandoned(self, partition: int, *, idle_ms: int, dead: str | None) -> list[Recorded]:
        """Pending events of dispatchers that are gone, now pending for this one.

        Those of consumers whose name starts with ``dead`` at once, others after ``idle_ms``.
        """
        key = self._log.keys.log(partition)
        entries = await _take_over(self._redis, key, DISPATCH, self._consumer, idle_ms, dead)
        return _recorded(partition, [(entry_id, fields) for entry_id, fields, _ in entries])


class Lanes:
    """Hands out tasks to one consumer."""

    def __init__(self, log: Log, consumer: str, stages: tuple[str, ...]) -> None:
        self._log = log
        self._redis = log.redis
        self.consumer = consumer
        self._stages = stages
        self._claim = log.redis.register_script(script("claim"))
        self._refresh = log.redis.register_script(script("refresh"))
        self._seen: dict[str, str] = {}

    async def prepare(self) -> None:
        """Create the groups of all lanes."""
        for partition in range(self._log.partitions):
            for key, stage in self._log.keys.lanes(partition, self._stages):
                await _create_group(self._redis, key, stage)

    async def claim(self, partition: int, count: int) -> list[Claimed]:
        """Up to ``count`` waiting tasks: high lanes first, and in a lane the stages in order."""
        lanes = self._log.keys.lanes(partition, self._stages)
        with translated():
            reply = cast(
                "list[tuple[int, bytes, bytes]]",
                await self._claim(
                    keys=[key for key, _ in lanes],
                    args=[self.consumer, count, *(stage for _, stage in lanes)],
                ),
            )
        found = [(*lanes[i - 1], entry_id, body, 1) for i, entry_id, body in reply]
        return await self._decoded(found)

    async def refresh(self, claims: Sequence[Claim]) -> list[bool]:
        """Reset the idle time of the claims; false for one that is no longer held.

        All claims must be of one partition.
        """
        if not claims:
            return []
        with translated():
            reply = cast(
                "list[int]",
                await self._refresh(
                    keys=[claim.lane_key for claim in claims],
                    args=[self.consumer, *(x for c in claims for x in (c.group, c.entry_id))],
                ),
            )
        return [held == 1 for held in reply]

    async def recall(self, partition: int) -> list[Claimed]:
        """All tasks that this consumer holds, those too whose delivery it never saw.

        After a lost reply some may be among them that it does not know of.
        """
        found: list[tuple[str, str, bytes, bytes, int]] = []
        for key, stage in self._log.keys.lanes(partition, self._stages):
            with translated():
                entries = await _pending(self._redis, key, stage, self.consumer)
            found += [(key, stage, each, fields[b"b"], n) for each, fields, n in entries]
        return await self._decoded(found)

    async def abandoned(self, partition: int, *, idle_ms: int, dead: str | None) -> list[Claimed]:
        """Tasks of consumers that are gone, as ``Dispatch.abandoned``; now held by this one."""
        found: list[tuple[str, str, bytes, bytes, int]] = []
        for key, stage in self._log.keys.lanes(partition, self._stages):
            entries = await _take_over(self._redis, key, stage, self.consumer, idle_ms, dead)
            found += [(key, stage, each, fields[b"b"], n) for each, fields, n in entries]
        return await self._decoded(found)

    async def wait(self, partition: int, *, block_ms: int) -> None:
        """Return when a task was added to any lane since the last call, or after ``block_ms``.

        Whoever claims between two calls misses nothing: the look starts where the last one ended.
        """
        keys = [key for key, _ in self._log.keys.lanes(partition, self._stages)]
        with translated():
            reply = cast(
                "dict[bytes, Entries]",
                await self._redis.xread(
                    {key: self._seen.get(key, "0-0") for key in keys}, count=1, block=block_ms
                ),
            )
            for key in reply:
                last = cast("Entries", await self._redis.xrevrange(key, "+", "-", count=1))
                seen = last[0][0] if last else reply[key][0][0]
                self._seen[key.decode()] = seen.decode()

    async def depth(self, partition: int) -> dict[tuple[str, str], int]:
        """Tasks waiting or in progress, by stage and lane."""
        lanes = self._log.keys.lanes(partition, self._stages)
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for key, _ in lanes:
                pipe.xlen(key)
            lengths = cast("list[int]", await pipe.execute())
        return {
            (stage, key.rpartition(":")[2]): length
            for (key, stage), length in zip(lanes, lengths, strict=True)
        }

    async def _decoded(self, found: list[tuple[str, str, bytes, bytes, int]]) -> list[Claimed]:
        """The tasks of ``(lane key, stage, entry id, body, deliveries)``.

        An entry that is no task is removed, or it would come back for ever.
        """
        tasks: list[Claimed] = []
        for key, stage, entry_id, body, deliveries in found:
            claim = Claim(
                lane_key=key, group=stage, entry_id=entry_id.decode(), consumer=self.consumer
            )
            try:
                task = codec.decode_task(body)
            except Corrupt as error:
                logger.warning("entry %s of %s removed: %s", claim.entry_id, key, error)
                with translated():
                    await self._redis.xack(key, stage, entry_id)
                    await self._redis.xdel(key, entry_id)
                continue
            tasks.append(Claimed(task=task, claim=claim, deliveries=deliveries))
        return tasks


async def _create_group(redis: Redis, key: str, group: str) -> None:
    try:
        with translated():
            await redis.xgroup_create(key, group, id="0", mkstream=True)
    except exceptions.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


async def _take_over(
    redis: Redis, key: str, group: str, consumer: str, idle_ms: int, dead: str | None
) -> list[tuple[bytes, dict[bytes, bytes], int]]:
    """Claim what gone consumers hold: ``(entry id, fields, deliveries)`` each.

    A takeover from a dead process does not count as a delivery, a stall does.
    """
    taken: list[tuple[bytes, dict[bytes, bytes], int]] = []
    with translated():
        if dead is not None:
            for name in await _consumers(redis, key, group):
                if name.startswith(dead) and name != consumer:
                    taken += await _claim_all_of(redis, key, group, name, consumer)
                    await redis.xgroup_delconsumer(key, group, name)
        cursor = b"0-0"
        while True:
            reply = cast(
                "tuple[bytes, Entries, list[bytes]]",
                await redis.xautoclaim(
                    key, group, consumer, min_idle_time=idle_ms, start_id=cursor, count=100
                ),
            )
            cursor, entries = reply[0], reply[1]
            for entry_id, fields in entries:
                deliveries = await _deliveries(redis, key, group, entry_id)
                taken.append((entry_id, fields, deliveries))
            if cursor == b"0-0":
                return taken


async def _consumers(redis: Redis, key: str, group: str) -> Iterable[str]:
    found = await redis.xinfo_consumers(key, group)
    return [cast("bytes", consumer["name"]).decode() for consumer in found]


async def _claim_all_of(
    redis: Redis, key: str, group: str, name: str, consumer: str
) -> list[tuple[bytes, dict[bytes, bytes], int]]:
    taken: list[tuple[bytes, dict[bytes, bytes], int]] = []
    while found := await _pending(redis, key, group, name):
        ids: list[Any] = [entry_id for entry_id, _, _ in found]
        await redis.xclaim(key, group, consumer, 0, ids, justid=True)
        taken += found
    return taken


async def _pending(
    redis: Redis, key: str, group: str, consumer: str
) -> list[tuple[bytes, dict[bytes, bytes], int]]:
    """Up to 100 entries that ``consumer`` holds: ``(entry id, fields, deliveries)`` each."""
    held: list[tuple[bytes, dict[bytes, bytes], int]] = []
    while not held:
        pending = await redis.xpending_range(key, group, "-", "+", 100, consumer)
        if not pending:
            break
        for entry in pending:
            entry_id = cast("bytes", entry["message_id"])
            found = cast("Entries", await redis.xrange(key, entry_id, entry_id))
            if found:
                held.append((entry_id, found[0][1], cast("int", entry["times_delivered"])))
            else:  # deleted while it was held
                await redis.xack(key, group, entry_id)
    return held


async def _deliveries(redis: Redis, key: str, group: str, entry_id: bytes) -> int:
    pending = await redis.xpending_range(key, group, entry_id, entry_id, 1)
    return cast("int", pending[0]["times_delivered"]) if pending else 1


def _recorded(partition: int, entries: Entries) -> list[Recorded]:
    return [
        Recorded(
            position=Position.of_entry(partition, entry_id),
            event=codec.decode_event(fields[b"b"]),
            body=fields[b"b"],
        )
        for entry_id, fields in entries
    ]
