"""From events to work: the dispatch group of the log.

| key | type | what |
|---|---|---|
| ``photolog:{07}:log`` | stream, group ``dispatch`` | events not yet planned |

An event is read by one dispatcher; its tasks are put on their lanes in the step that acknowledges
it, so a dispatcher that dies leaves it to be taken over.
"""

from collections.abc import Sequence

from domain.pipeline.stages import Task
from store.log.foreign import note
from store.log.log import Log
from store.log.position import Position
from store.log.stream import Recorded, entries_of_one, sift
from store.queue.consumers import Entries, create_group, pending, remove_idle, take_over
from store.queue.lanes import due_ms, entry_of, place_of
from store.redis.connection import translated

DISPATCH = "dispatch"


class Dispatch:
    """Reads events as one of the dispatchers and turns them into tasks."""

    def __init__(self, log: Log, consumer: str) -> None:
        self._log = log
        self._redis = log.redis
        self._consumer = consumer
        self._script = log.redis.lua("queue/dispatch")

    async def prepare(self, partition: int) -> None:
        """Create the group; it starts at the first event of the partition."""
        await create_group(self._redis, self._log.keys.log(partition), DISPATCH)

    async def read(self, partition: int, *, count: int, block_ms: int) -> list[Recorded]:
        """Events that no dispatcher has read, now pending for this one."""
        key = self._log.keys.log(partition)
        with translated():
            reply = await self._redis.xreadgroup(
                DISPATCH, self._consumer, {key: ">"}, count=count, block=block_ms
            )
            entries = entries_of_one(reply)
        return await self._events(partition, entries)

    async def recall(self, partition: int) -> list[Recorded]:
        """Events read by this dispatcher whose delivery it may not have seen: a reply was lost."""
        key = self._log.keys.log(partition)
        with translated():
            entries = await pending(self._redis, key, DISPATCH, self._consumer)
        return await self._events(partition, [each[:2] for each in entries])

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
                key = place_of(self._log.keys, partition, task)
                if key not in index:
                    keys.append(key)
                    index[key] = len(keys)
                args += [index[key], due_ms(task) or "", entry_of(task)]
        with translated():
            await self._script(keys=keys, args=args)

    async def abandoned(self, partition: int, *, idle_ms: int, dead: str | None) -> list[Recorded]:
        """Pending events of dispatchers that are gone, now pending for this one.

        Those of consumers whose name starts with ``dead`` at once, others after ``idle_ms``.
        """
        key = self._log.keys.log(partition)
        entries = await take_over(self._redis, key, DISPATCH, self._consumer, idle_ms, dead)
        return await self._events(partition, [each[:2] for each in entries])

    async def forget_idle(self, partition: int, *, idle_ms: int) -> None:
        """Remove the dispatchers that hold nothing and have been silent for so long."""
        key = self._log.keys.log(partition)
        await remove_idle(self._redis, key, DISPATCH, idle_ms=idle_ms)

    async def _events(self, partition: int, entries: Entries) -> list[Recorded]:
        """The events among the entries; of those that are none there is nothing to plan.

        They are noted before they are acknowledged, so that a crash between leaves them pending.
        Events are given out once they are safe: ``commit`` skips those that a failover has taken.
        """
        events, foreign = sift(partition, entries)
        if events:
            await self._log.settle(partition)
        if foreign:
            await note(self._log, partition, foreign)
            with translated():
                await self._redis.xack(self._log.keys.log(partition), DISPATCH, *foreign)
        return events
