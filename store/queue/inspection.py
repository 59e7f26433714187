"""Inspect lanes, timers and workers without changing anything."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import anyio
import msgspec

from domain.moments import iso
from domain.pipeline.stages import LANES
from store.errors import Corrupt, Unavailable
from store.log import codec
from store.log.log import Log
from store.queue import liveness
from store.queue.consumers import Entries
from store.queue.counters import ANSWER_S, as_count, none_if_gone, stage_of_timer
from store.queue.dispatch import DISPATCH
from store.queue.turns import HELD_SHOWN, LOOKED_AT, without_turn
from store.redis.connection import translated


class LaneDepth(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``added`` counts all tasks that ever entered the lane, and those handed back once more.

    ``clients`` counts the clients of waiting tasks. Of tasks that no claim has seen yet, as in a
    paused stage, the first ``turns.LOOKED_AT`` of a partition count.
    """

    waiting: int = 0
    clients: int = 0
    in_progress: int = 0
    oldest_age_ms: int | None = None
    added: int = 0


class StageQueue(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The lanes of a stage by name; ``delayed`` tasks are in the timers."""

    stage: str
    lanes: dict[str, LaneDepth]
    delayed: int = 0

    @property
    def waiting(self) -> int:
        return sum(each.waiting for each in self.lanes.values())

    @property
    def in_progress(self) -> int:
        return sum(each.in_progress for each in self.lanes.values())

    @property
    def added(self) -> int:
        return sum(each.added for each in self.lanes.values())


class Doing(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A task in progress; ``silent_ms`` since the worker last refreshed its claim.

    ``since`` is when the worker began to run it, null while it waits there, and for the first half
    second.
    """

    stage: str
    photo_id: str
    job_id: str
    attempt: int
    silent_ms: int
    client_id: str = ""
    since: str | None = None


class WorkerView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``silent_ms`` since the worker last asked for a task or refreshed one.

    For an idle worker, Redis 7.0 only knows when it last had a task, and does not list a worker
    that never had one.
    """

    name: str
    silent_ms: int
    doing: list[Doing]


class GroupReader(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A dispatcher; ``silent_ms`` as for a worker."""

    name: str
    silent_ms: int


class PartitionQueue(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``server`` holds the partition; None if there is only one. ``readers`` are its dispatchers;
    ``to_plan`` counts events that none has planned, None if unknown."""

    partition: int
    server: str | None
    answers: bool = True
    to_plan: int | None = None
    readers: list[GroupReader] = []


class Queues(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The queues of all partitions that answer."""

    stages: list[StageQueue]
    workers: list[WorkerView]
    partitions: list[PartitionQueue]


class _Lane(msgspec.Struct):
    """One lane of one partition, as Redis reports it."""

    stage: str
    lane: str
    key: str
    length: int
    added: int
    pending: int
    clients: set[bytes]
    delivered: bytes
    consumers: list[dict[str, Any]]


_Held = dict[bytes, dict[str, Any]]


class _InProgress(msgspec.Struct):
    """A task in progress, its worker, and its name in the worker's reports."""

    worker: str
    name: str
    doing: Doing


class _PartitionView(msgspec.Struct):
    """One partition. Each lane comes with the age of its oldest task, and its tasks in progress."""

    partition: PartitionQueue
    lanes: list[tuple[_Lane, int | None, list[_InProgress]]] = []
    delayed: list[str] = []


async def look(log: Log, stages: tuple[str, ...]) -> Queues:
    """Return the stages in the given order, over all partitions that answer; workers by name.

    Raises:
        Unavailable: no partition answers.
    """
    now_ms = int((await log.now()).timestamp() * 1000)
    seen: dict[int, _PartitionView] = {}

    async def see(partition: int) -> None:
        seen[partition] = await _inspect(log, partition, stages, now_ms)

    async with anyio.create_task_group() as tasks:
        for partition in range(log.partitions):
            tasks.start_soon(see, partition)
    found = [seen[partition] for partition in range(log.partitions)]
    if not any(each.partition.answers for each in found):
        raise Unavailable("no partition answers")
    return _merge(found, stages, await _began(log, found))


async def _began(log: Log, found: list[_PartitionView]) -> liveness.Running:
    """Return when the tasks in progress began, as far as their workers have reported it."""
    if not found[liveness.PARTITION].partition.answers:
        return {}
    busy = {task.worker for each in found for _, _, held in each.lanes for task in held}
    with suppress(Unavailable), anyio.move_on_after(ANSWER_S):
        return await liveness.running(log, sorted(busy))
    return {}


def _merge(found: list[_PartitionView], stages: tuple[str, ...], began: liveness.Running) -> Queues:
    depths: dict[str, dict[str, LaneDepth]] = {
        stage: {lane: LaneDepth() for lane in LANES} for stage in stages
    }
    delayed = dict.fromkeys(stages, 0)
    workers: dict[str, WorkerView] = {}
    for each in found:
        for lane, age_ms, held in each.lanes:
            depths[lane.stage][lane.lane] = _sum(depths[lane.stage][lane.lane], lane, age_ms)
            for consumer in lane.consumers:
                _merge_worker(workers, consumer)
            for task in held:
                workers[task.worker].doing.append(_since(task, began))
        for stage in each.delayed:
            delayed[stage] = delayed.get(stage, 0) + 1
    return Queues(
        stages=[
            StageQueue(stage=stage, lanes=depths[stage], delayed=delayed[stage]) for stage in stages
        ],
        workers=sorted(workers.values(), key=lambda worker: worker.name),
        partitions=[each.partition for each in found],
    )


def _since(task: _InProgress, began: liveness.Running) -> Doing:
    at_ms = began.get(task.name)
    if at_ms is None:
        return task.doing
    since = iso(datetime.fromtimestamp(at_ms / 1000, UTC))
    return msgspec.structs.replace(task.doing, since=since)


async def _inspect(
    log: Log, partition: int, stages: tuple[str, ...], now_ms: int
) -> _PartitionView:
    """Inspect a partition; report it as silent if it does not answer in time."""
    try:
        with translated(), anyio.fail_after(ANSWER_S):
            seen = _PartitionView(partition=await _partition(log, partition))
            for lane in await _lanes(log, partition, stages):
                held = await _held(log, lane)
                await _add_clients_without_turn(log, lane, held)
                oldest_ms = await _oldest_ms(log, lane, held)
                age_ms = None if oldest_ms is None else max(0, now_ms - oldest_ms)
                seen.lanes.append((lane, age_ms, await _tasks_in_progress(log, lane, held)))
            seen.delayed = await _delayed(log, partition)
            return seen
    except Unavailable:
        server = log.owner(partition) or None
        return _PartitionView(
            partition=PartitionQueue(partition=partition, server=server, answers=False)
        )


async def _partition(log: Log, partition: int) -> PartitionQueue:
    key = log.keys.log(partition)
    with translated():
        pipe = log.redis.pipeline(transaction=False)
        pipe.xinfo_groups(key)
        pipe.xinfo_consumers(key, DISPATCH)
        groups, consumers = map(none_if_gone, await pipe.execute(raise_on_error=False))
    server = log.owner(partition) or None
    group = _group(groups, DISPATCH)
    if group is None or consumers is None:  # no dispatcher has been there yet
        return PartitionQueue(partition=partition, server=server)
    return PartitionQueue(
        partition=partition,
        server=server,
        to_plan=None
        if group["lag"] is None
        else as_count(group["lag"]) + as_count(group["pending"]),
        readers=sorted(
            (
                GroupReader(name=each["name"].decode(), silent_ms=as_count(each["idle"]))
                for each in consumers
            ),
            key=lambda reader: reader.name,
        ),
    )


async def _lanes(log: Log, partition: int, stages: tuple[str, ...]) -> list[_Lane]:
    """Read the lanes in one round trip; leave out lanes that no worker has prepared."""
    named = log.keys.lanes(partition, stages)
    with translated():
        pipe = log.redis.pipeline(transaction=False)
        for key, stage in named:
            pipe.xinfo_stream(key)
            pipe.xinfo_groups(key)
            pipe.xinfo_consumers(key, stage)
            turns = log.keys.turns(partition, stage, log.keys.lane_of(key))
            cast("Any", pipe).zrange(turns, 0, LOOKED_AT - 1)
        replies = [none_if_gone(reply) for reply in await pipe.execute(raise_on_error=False)]
    found: list[_Lane] = []
    for at, (key, stage) in enumerate(named):
        stream, groups, consumers, clients = replies[4 * at : 4 * at + 4]
        group = _group(groups, stage)
        if group is None or stream is None or consumers is None:
            continue
        found.append(
            _Lane(
                stage=stage,
                lane=log.keys.lane_of(key),
                key=key,
                length=as_count(stream["length"]),
                added=as_count(stream["entries-added"]),
                pending=as_count(group["pending"]),
                clients={bytes(each) for each in clients or ()},
                delivered=bytes(group["last-delivered-id"]),
                consumers=[
                    {"name": bytes(each["name"]), "idle": as_count(each["idle"])}
                    for each in consumers
                ],
            )
        )
    return found


async def _held(log: Log, lane: _Lane) -> _Held:
    """Return the first held tasks of the lane by entry id, as XPENDING describes them."""
    if lane.pending == 0:
        return {}
    with translated():
        found = await log.redis.xpending_range(lane.key, lane.stage, "-", "+", HELD_SHOWN)
        return {msgspec.convert(each["message_id"], bytes): each for each in found}


async def _add_clients_without_turn(log: Log, lane: _Lane, held: _Held) -> None:
    """Add the clients of tasks that no claim has seen; of all tasks, if turns may be lost."""
    if lane.length > lane.pending:
        after = lane.delivered if lane.clients else b"0"
        lane.clients |= await without_turn(log, lane.key, after, held.keys())


def _group(groups: list[dict[str, Any]] | None, name: str) -> dict[str, Any] | None:
    return next((each for each in groups or () if each["name"] == name.encode()), None)


async def _oldest_ms(log: Log, lane: _Lane, held: _Held) -> int | None:
    """Return when the first waiting task entered the lane.

    Tasks in progress may be anywhere in it, so the first waiting one is among that many plus one.
    """
    if lane.length <= lane.pending:
        return None
    with translated():
        reply = await log.redis.xrange(lane.key, "-", "+", count=len(held) + 1)
        first = msgspec.convert(reply, Entries)
        waiting = next((entry_id for entry_id, _ in first if entry_id not in held), None)
        return int(waiting.partition(b"-")[0]) if waiting else None


def _sum(depth: LaneDepth, lane: _Lane, age_ms: int | None) -> LaneDepth:
    ages = [age for age in (depth.oldest_age_ms, age_ms) if age is not None]
    return LaneDepth(
        waiting=depth.waiting + max(0, lane.length - lane.pending),
        clients=depth.clients + len(lane.clients),
        in_progress=depth.in_progress + lane.pending,
        oldest_age_ms=max(ages, default=None),
        added=depth.added + lane.added,
    )


def _merge_worker(workers: dict[str, WorkerView], consumer: dict[str, Any]) -> None:
    name, silent_ms = consumer["name"].decode(errors="replace"), consumer["idle"]
    known = workers.get(name)
    if known is None:
        workers[name] = WorkerView(name=name, silent_ms=silent_ms, doing=[])
    elif silent_ms < known.silent_ms:
        workers[name] = msgspec.structs.replace(known, silent_ms=silent_ms)


async def _tasks_in_progress(log: Log, lane: _Lane, held: _Held) -> list[_InProgress]:
    if not held:
        return []
    with translated():
        pipe = log.redis.pipeline(transaction=False)
        for entry_id in held:
            pipe.xrange(lane.key, entry_id, entry_id)
        entries = msgspec.convert(await pipe.execute(), list[Entries])
    known = {consumer["name"] for consumer in lane.consumers}
    found: list[_InProgress] = []
    for each, entry in zip(held.values(), entries, strict=True):
        if not entry or each["consumer"] not in known:
            continue
        try:
            task = codec.decode_task(entry[0][1][b"b"])
        except (Corrupt, KeyError):  # the worker that holds it reports it
            continue
        doing = Doing(
            stage=task.stage,
            photo_id=task.photo_id,
            job_id=task.job_id,
            attempt=task.attempt,
            silent_ms=as_count(each["time_since_delivered"]),
            client_id=task.client_id,
        )
        worker = cast("bytes", each["consumer"]).decode(errors="replace")
        name = liveness.task_name(lane.key, entry[0][0].decode())
        found.append(_InProgress(worker=worker, name=name, doing=doing))
    return found


async def _delayed(log: Log, partition: int) -> list[str]:
    """Return the stage of each task in the timers."""
    redis: Any = log.redis
    with translated():
        reply = await redis.zrange(log.keys.timers(partition), 0, LOOKED_AT - 1)
        members = [each for each in msgspec.convert(reply, list[bytes]) if b":" in each]
    return [stage_of_timer(member) for member in members]
