"""Refill lost lanes and timers from the log, which has everything that they held.

A duplicate task does no harm: its second result changes nothing.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec

from domain.photo import events as e
from domain.photo.plan import plan
from domain.pipeline.stages import LANES, Task
from store.errors import Corrupt
from store.log.codec import decode_task
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded
from store.log.stream import READ_COUNT
from store.queue import known_stages, losses
from store.queue.consumers import Entries
from store.queue.dispatch import DISPATCH
from store.queue.lanes import TIMERS_KEPT, due_ms, entry_of, place_of, task_of_timer
from store.redis.connection import translated

logger = logging.getLogger("photolog.recovery")

HELD_AT_MOST = 100_000

_Name = tuple[str, str, str, int, str]


class Recovery:
    """Refills the partitions with noted losses, for one worker that runs ``stages``.

    ``lease_s`` is how long another worker that deals with a loss may be silent.
    """

    def __init__(self, log: Log, stages: tuple[str, ...], lease_s: float) -> None:
        self._log = log
        self._stages = stages
        self._lease_s = lease_s
        self._claimed: dict[int, set[bytes]] = {}

    async def run(self, partition: int) -> None:
        """Refill the partition if a loss is noted; if that fails, the next call tries again."""
        notes = self._claimed.setdefault(partition, set())
        notes.update(await losses.claim(self._log, partition, self._lease_s))
        if not notes:
            return
        renewed = time.monotonic()

        async def renew() -> None:
            nonlocal renewed
            if time.monotonic() > renewed + self._lease_s / 3:
                await losses.renew(self._log, partition, notes)
                renewed = time.monotonic()

        await refill(self._log, partition, self._stages, renew)
        await losses.forget(self._log, partition, notes)
        notes.clear()


async def _nothing() -> None:
    pass


async def refill(
    log: Log,
    partition: int,
    stages: tuple[str, ...],
    at_each: Callable[[], Awaitable[None]] = _nothing,
) -> int:
    """Add the tasks of unfinished photos that no lane or timer has; return how many.

    Only dispatched events count: later ones are left to the dispatcher. ``stages`` are those of
    the worker; tasks of stages that only other versions run count, too. ``at_each`` is awaited
    before each event.
    """
    # In this order: a task that was dispatched and is missing has a result later in the log.
    upto, undone = await _dispatched(log, partition)
    others = await known_stages.seen_in(log, partition) - set(stages)
    present = await _present(log, partition, (*stages, *sorted(others)))
    waiting = _Waiting()
    async for recorded in log.scan(partition):
        await at_each()
        position = recorded.position
        waiting.apply(recorded, planned=position <= upto and position.entry_id not in undone)
    missing = [task for name, task in _by_name(waiting.tasks()).items() if name not in present]
    for task in missing:
        with translated():
            due = due_ms(task)
            place, entry = place_of(log.keys, partition, task), entry_of(task)
            if due is None:
                await log.redis.xadd(place, {"b": entry})
            else:
                await log.redis.zadd(place, {entry: due})
    if missing:
        logger.warning("partition %d: recovered %d lost tasks", partition, len(missing))
    return len(missing)


class _Waiting:
    """The planned tasks that are not done, by photo and stage; ended jobs take no memory.

    Removals of superseded renditions outlast their jobs, so they are kept by rendition.
    """

    def __init__(self) -> None:
        self._photos: dict[str, dict[str, Task]] = {}
        self._removals: dict[str, dict[str, Task]] = {}

    def tasks(self) -> list[Task]:
        photos = (*self._photos.values(), *self._removals.values())
        return [task for tasks in photos for task in tasks.values()]

    def apply(self, recorded: Recorded, *, planned: bool) -> None:
        data = recorded.event.data
        if isinstance(data, e.RenditionsSuperseded | e.RenditionsRemoved | e.PhotoDeleted):
            self._apply_removal(recorded, data, planned=planned)
        match data:
            case e.PhotoUploaded() | e.ProcessingRequested() | e.PhotoDeleted():
                self._photos.pop(data.photo_id, None)
            case e.StageCompleted() | e.StageFailed():
                self._photos.get(data.photo_id, {}).pop(data.stage, None)
            case e.ProcessingCompleted() | e.ProcessingFailed() | e.PhotoErased():
                self._photos.pop(data.photo_id, None)
                return
            case e.ProcessingPrioritized():
                tasks = self._photos.get(data.photo_id, {})
                for stage, task in tasks.items():
                    tasks[stage] = msgspec.structs.replace(task, priority=data.priority)
                return
            case e.ProcessingHurried():
                tasks = self._photos.get(data.photo_id, {})
                for stage, task in tasks.items():
                    tasks[stage] = msgspec.structs.replace(task, due=None)
                return
            case _:
                return
        for task in plan(recorded.event, str(recorded.position)) if planned else ():
            self._photos.setdefault(task.photo_id, {})[task.stage] = task

    def _apply_removal(
        self,
        recorded: Recorded,
        data: e.RenditionsSuperseded | e.RenditionsRemoved | e.PhotoDeleted,
        *,
        planned: bool,
    ) -> None:
        if isinstance(data, e.PhotoDeleted):
            self._removals.pop(data.photo_id, None)
            return
        removals = self._removals.pop(data.photo_id, {})
        if isinstance(data, e.RenditionsSuperseded):
            for task in plan(recorded.event, str(recorded.position)) if planned else ():
                removals |= {file.key: task for file in data.files}
        else:
            removals = {
                key: task
                for key, task in removals.items()
                if key not in {file.key for file in data.files}
            }
        if removals:
            self._removals[data.photo_id] = removals


async def _dispatched(log: Log, partition: int) -> tuple[Position, set[str]]:
    """Return how far the dispatchers have read, and the earlier entries that are still pending.

    What has left the stream was dispatched, even if the group was lost since.
    """
    key, trimmed = log.keys.log(partition), await log.trimmed(partition)
    with translated():
        groups = await log.redis.xinfo_groups(key) if await log.redis.exists(key) else []
        for group in groups:
            if group["name"] == DISPATCH.encode():
                upto = Position.of_entry(partition, group["last-delivered-id"])
                held = await log.redis.xpending_range(key, DISPATCH, "-", "+", HELD_AT_MOST)
                return max(upto, trimmed), {
                    cast("bytes", each["message_id"]).decode() for each in held
                }
    return trimmed, set()


async def _present(log: Log, partition: int, stages: tuple[str, ...]) -> set[_Name]:
    """Return the names of the tasks that wait or are held."""
    found: set[_Name] = set()
    for name in LANES:
        for stage in stages:
            await _collect_lane(log, log.keys.lane(partition, stage, name), found)
    redis: Any = log.redis
    with translated():
        reply = await redis.zrange(log.keys.timers(partition), 0, -1)
        members = msgspec.convert(reply, list[bytes])
    for member in members:
        if member == TIMERS_KEPT.encode():
            continue
        try:
            found.add(_name(task_of_timer(member)))
        except Corrupt as error:
            logger.warning("a timer of partition %d is not a task: %s", partition, error)
    return found


async def _collect_lane(log: Log, key: str, found: set[_Name]) -> None:
    start = "-"
    while True:
        with translated():
            reply = await log.redis.xrange(key, start, "+", count=READ_COUNT)
            entries = msgspec.convert(reply, Entries)
        for _, fields in entries:
            try:
                found.add(_name(decode_task(fields[b"b"])))
            except (Corrupt, KeyError):
                logger.warning("an entry of %s is not a task", key)
        if len(entries) < READ_COUNT:
            return
        start = f"({entries[-1][0].decode(errors='replace')}"


def _by_name(tasks: list[Task]) -> dict[_Name, Task]:
    return {_name(task): task for task in tasks}


def _name(task: Task) -> _Name:
    """Return what identifies a task; removals of one job differ only in their cause."""
    return task.photo_id, task.job_id, task.stage, task.attempt, task.cause
