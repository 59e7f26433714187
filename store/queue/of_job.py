"""The tasks of one job: which workers hold, which wait, and which wait for their time.

A job has at most one task of a stage. The caller knows from the job's events which stages have one,
and since when, so a lane is searched from that time on and no further than the task.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from domain.pipeline.stages import LANES, Task, all_stages, lane
from store.concurrently import for_each
from store.errors import Corrupt
from store.log import codec
from store.log.log import Log
from store.log.stream import READ_COUNT
from store.queue.consumers import Entries, has_group
from store.queue.counters import TIMERS_READ
from store.queue.inspection import Doing, look
from store.queue.lanes import TIMERS_KEPT, entry_of, task_of_timer
from store.redis.connection import translated

MOST_READ = 10_000
"""How many tasks of a lane are searched for that of a job."""

CLOCKS = timedelta(minutes=1)
"""How far the clocks of an event and of a lane may differ."""


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """A task to find: of ``stage``, planned no earlier than ``since``.

    ``is_retry`` if an attempt has failed, so that it may be delayed; ``due`` is until when, if
    known.
    """

    stage: str
    since: datetime
    is_retry: bool = False
    due: datetime | None = None


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """``tasks`` were moved. ``complete`` is false if a lane was too long to search all of it."""

    tasks: int
    complete: bool


async def held(log: Log, job_id: str) -> list[Doing]:
    """Return the tasks of the job that workers hold; raises Unavailable."""
    workers = (await look(log, all_stages())).workers
    return [doing for each in workers for doing in each.doing if doing.job_id == job_id]


async def delayed(log: Log, client_id: str, job_id: str, sought: Sequence[Sought]) -> list[bytes]:
    """Return the timers of the job that are not due yet, for ``run_now``.

    Raises:
        Unavailable: Redis did not answer.
    """
    key = log.keys.timers(log.partition_of(client_id))
    now_ms = _ms(await log.now())
    timers = await _timers(log, key, job_id, sought)
    return [member for member, due_ms in timers if due_ms > now_ms]


async def run_now(log: Log, client_id: str, timers: Sequence[bytes]) -> int:
    """Let the timers be due at once; return how many were still delayed.

    A task that workers move to its lane meanwhile is not added again.

    Raises:
        Unavailable: Redis did not answer.
    """
    key = log.keys.timers(log.partition_of(client_id))
    redis: Any = log.redis
    with translated():
        now_ms = _ms(await log.now())
        reply = await redis.zadd(key, dict.fromkeys(timers, now_ms), xx=True, ch=True)
        return msgspec.convert(reply, int)


async def prioritize(
    log: Log, client_id: str, job_id: str, priority: int, sought: Sequence[Sought]
) -> Moved:
    """Move the waiting and delayed tasks of the job to the lanes of ``priority``, in one step.

    Each becomes the last of its lane. Tasks that workers hold stay with them. Of each lane, at most
    ``MOST_READ`` tasks are searched.

    Raises:
        Unavailable: Redis did not answer.
    """
    partition = log.partition_of(client_id)
    timers = log.keys.timers(partition)
    keys, late, waiting = [timers], list[bytes](), list[str | bytes]()
    found: set[str] = set()
    for member, _ in await _timers(log, timers, job_id, sought):
        task = msgspec.structs.replace(task_of_timer(member), priority=priority)
        late += [member, entry_of(task)]
        found.add(task.stage)
    others = [name for name in LANES if name != lane(priority)]
    searches = [
        _Search(log, log.keys.lane(partition, each.stage, name), job_id, each)
        for each in sought
        if each.stage not in found
        for name in others
    ]
    await for_each(_Search.run, searches)
    for search in searches:
        if search.entry_id is not None and search.task is not None:
            found.add(search.sought.stage)
            task = msgspec.structs.replace(search.task, priority=priority)
            keys += [search.key, log.keys.lane(partition, task.stage, lane(priority))]
            waiting += [task.stage, search.entry_id, codec.encode_task(task)]
    script = log.redis.lua("queue/move")
    with translated():
        reply = await script(keys=keys, args=[len(late) // 2, *late, *waiting])
        moved = msgspec.convert(reply, int)
    cut = {search.sought.stage for search in searches if search.cut}
    return Moved(tasks=moved, complete=cut <= found)


async def _timers(
    log: Log, key: str, job_id: str, sought: Sequence[Sought]
) -> list[tuple[bytes, float]]:
    """Return the job's timers and when they are due, in ms since 1970.

    A timer is found by the time when it is due; one that was made due earlier is among the first.
    """
    retries = [each for each in sought if each.is_retry]
    redis: Any = log.redis
    found: list[tuple[bytes, float]] = []
    with translated():
        for due_ms in {_ms(each.due) for each in retries if each.due is not None}:
            reply = await redis.zrangebyscore(key, due_ms, due_ms, 0, TIMERS_READ, withscores=True)
            found += _of(job_id, reply)
        if len(found) < len(retries):
            reply = await redis.zrange(key, 0, TIMERS_READ - 1, withscores=True)
            found = list({*found, *_of(job_id, reply)})
    return sorted(found)


def _of(job_id: str, reply: Any) -> list[tuple[bytes, float]]:
    timers = msgspec.convert(reply, list[tuple[bytes, float]])
    return [each for each in timers if _is_of(each[0], job_id)]


class _Search:
    """A search of one lane; afterwards it has the task, if it is there, and its entry.

    ``cut`` says that the lane has more tasks than were searched.
    """

    def __init__(self, log: Log, key: str, job_id: str, sought: Sought) -> None:
        self._log = log
        self._job_id = job_id
        self.key = key
        self.sought = sought
        self.entry_id: bytes | None = None
        self.task: Task | None = None
        self.cut = False

    async def run(self) -> None:
        if not await has_group(self._log.redis, self.key, self.sought.stage):
            return
        start = str(_ms(self.sought.since - CLOCKS))
        for _ in range(MOST_READ // READ_COUNT):
            with translated():
                reply = await self._log.redis.xrange(self.key, start, "+", count=READ_COUNT)
                entries = msgspec.convert(reply, Entries)
            for entry_id, fields in entries:
                if (task := _task(fields.get(b"b", b""), self._job_id)) is not None:
                    self.entry_id, self.task = entry_id, task
                    return
            if len(entries) < READ_COUNT:
                return
            start = f"({entries[-1][0].decode()}"
        self.cut = True


def _task(body: bytes, job_id: str) -> Task | None:
    """Decode the task if it is of the job."""
    if job_id.encode() not in body:
        return None
    try:
        task: Task = codec.decode_task(body)
    except Corrupt:  # the workers remove it
        return None
    return task if task.job_id == job_id else None


def _is_of(member: bytes, job_id: str) -> bool:
    if member == TIMERS_KEPT.encode():
        return False
    try:
        task: Task = task_of_timer(member)
    except Corrupt:  # the workers remove it
        return False
    return task.job_id == job_id


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
