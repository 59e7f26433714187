"""Turn events into tasks: the consumer group ``dispatch`` of the log.

| key | type | what |
|---|---|---|
| ``photolog:{07}:log`` | stream, group ``dispatch`` | events not yet planned |

One dispatcher reads each event. The step that acknowledges the event also puts its tasks in their
lanes, so another dispatcher takes over the events of one that died.
"""

from collections.abc import Sequence
from operator import itemgetter

from domain.pipeline.stages import Task, all_stages
from store.log.foreign import note
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded, sift
from store.queue import known_stages
from store.queue.consumers import (
    Entries,
    create_group,
    pending,
    read_new,
    remove_idle,
    take_over,
)
from store.queue.lanes import due_ms, entry_of, place_of
from store.redis.connection import translated

DISPATCH = "dispatch"

Planned = tuple[Position, tuple[Task, ...]]
"""The position of an event, and the tasks that it leads to."""


class Dispatch:
    """Reads events as one of the dispatchers, and puts their tasks in lanes."""

    def __init__(self, log: Log, consumer: str) -> None:
        self._log = log
        self._redis = log.redis
        self._consumer = consumer
        self._script = log.redis.lua("queue/dispatch")

    async def prepare(self, partition: int) -> None:
        """Create the group, which starts at the partition's first event."""
        await create_group(self._redis, self._log.keys.log(partition), DISPATCH)

    async def read(self, partition: int, *, count: int, block_ms: int) -> list[Recorded]:
        """Read events that no dispatcher has read; they are then pending for this one."""
        entries = await read_new(
            *(self._redis, self._log.keys.log(partition), DISPATCH, self._consumer),
            count=count,
            block_ms=block_ms,
        )
        return await self._events(partition, entries)

    async def recall(self, partition: int) -> list[Recorded]:
        """Return the events pending for this dispatcher, including those of a lost reply."""
        key = self._log.keys.log(partition)
        with translated():
            entries = await pending(self._redis, key, DISPATCH, self._consumer)
        return await self._events(partition, [each[:2] for each in entries])

    async def commit(self, planned: Sequence[Planned]) -> None:
        """Put the tasks in their lanes and acknowledge the events of one partition, in one step."""
        if not planned:
            return
        planned = sorted(planned, key=itemgetter(0))
        partition = planned[0][0].partition
        unknown = {task.stage for _, tasks in planned for task in tasks} - {*all_stages()}
        if unknown:  # before: a task must not wait without a note of its stage
            await known_stages.note_planned(self._log, partition, unknown)
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
        """Take over pending events of dispatchers that are gone.

        Events of consumers whose name starts with ``dead`` at once, of others after ``idle_ms``.
        """
        key = self._log.keys.log(partition)
        entries = await take_over(self._redis, key, DISPATCH, self._consumer, idle_ms, dead)
        return await self._events(partition, [each[:2] for each in entries])

    async def forget_idle(self, partition: int, *, idle_ms: int) -> None:
        """Remove the dispatchers that hold nothing and have been idle for ``idle_ms``."""
        key = self._log.keys.log(partition)
        await remove_idle(self._redis, key, DISPATCH, idle_ms=idle_ms)

    async def _events(self, partition: int, entries: Entries) -> list[Recorded]:
        """Return the events among the entries; note and acknowledge entries that are no events.

        They are noted first, so that a crash in between leaves them pending. Events are returned
        once they are safe; ``commit`` skips those that a failover has undone.
        """
        events, foreign = sift(partition, entries)
        if events:
            await self._log.settle(partition)
        if foreign:
            await note(self._log, partition, foreign)
            with translated():
                await self._redis.xack(self._log.keys.log(partition), DISPATCH, *foreign)
        return events
