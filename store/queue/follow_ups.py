"""Dispatch the events of a worker in the step that appends them, and keep the tasks they lead to.

A dispatcher would read, plan and acknowledge each of these events, and a claim would then find
their tasks. The worker that records a result knows what it leads to: the append puts the tasks in
their lanes, and has the group of the dispatchers pass over the events. It leaves both to a
dispatcher if an earlier event still waits for one.

The worker keeps a task if a claim would choose that task next among those that were admitted to
their turns (``turns``): no task of another class waits, and no client waits that has been served
less. It then works on a photo that it knows, and whose picture a decoder of its own has. A kept
task is a pending entry of its lane like one that was claimed. Its client pays with the next claim.

Where appends wait for replicas, a task must not be visible before its event is safe; and in a
cluster, while a slot moves, no script may name turns that do not exist. There, dispatchers do it.
"""

import secrets
from collections.abc import Callable, Sequence

import msgspec

from domain.photo.events import Event
from domain.photo.plan import plan
from domain.pipeline.stages import ERASURE, LANES, ROOT, Task, all_stages, lane
from store.log import codec
from store.log.append import Claim, DispatchOption
from store.log.log import Log
from store.log.outcome import Appended
from store.log.position import Position
from store.queue.dispatch import DISPATCH
from store.queue.lanes import Claimed, place_of
from store.queue.turns import GRACE_MS
from store.redis.cluster import Cluster

MayKeep = Callable[[Task], bool]

_CAUSE = secrets.token_hex(8)
"""Stands for the position of an event that has none yet."""

_ENCODED_CAUSE = msgspec.msgpack.encode(_CAUSE)


class FollowUps:
    """Plans what the appends of one consumer lead to."""

    def __init__(self, log: Log, consumer: str) -> None:
        self._keys = log.keys
        self._partition_of = log.partition_of
        self._consumer = consumer
        self._stages = all_stages()
        self._begun = "".join("0" if stage in (ROOT, ERASURE) else "1" for stage in self._stages)
        self._is_off = log.durability.wait is not None or isinstance(log.redis, Cluster)
        self._turns: dict[tuple[int, str], tuple[str, ...]] = {}

    def of(self, client_id: str, may_keep: MayKeep) -> "FollowUp":
        return FollowUp(self, self._partition_of(client_id), client_id, may_keep)

    def option(
        self, partition: int, client_id: str, tasks: Sequence[tuple[int, Task, bool]]
    ) -> DispatchOption | None:
        """Return what dispatches tasks: each with the number of its event, and whether to keep it.

        None if a dispatcher has to: for delayed tasks, and for stages that this version lacks.
        """
        if self._is_off or any(
            task.due is not None or task.stage not in self._stages for _, task, _ in tasks
        ):
            return None
        keys = [place_of(self._keys, partition, task) for _, task, _ in tasks]
        args: list[str | bytes | int] = []
        for number, task, keep in tasks:
            before, _, after = codec.encode_task(task).partition(_ENCODED_CAUSE)
            args += (number, task.stage, "1" if keep else "0", before, after)
        begun = ""
        if any(keep for _, _, keep in tasks):
            begun = self._begun
            keys += self._turns_of(partition, lane(tasks[0][1].priority))
        head = (DISPATCH, partition, self._consumer, client_id, GRACE_MS, begun, len(tasks))
        return DispatchOption(keys=tuple(keys), args=("dispatch", *head, *args))

    def claim_of(self, partition: int, task: Task, entry_id: bytes) -> Claim:
        return Claim(
            lane_key=place_of(self._keys, partition, task),
            group=task.stage,
            entry_id=entry_id.decode(),
            consumer=self._consumer,
        )

    def _turns_of(self, partition: int, of_class: str) -> tuple[str, ...]:
        """Return the accounts and turns of the class, then the turns of the others."""
        known = self._turns.get((partition, of_class))
        if known is None:
            classes = of_class, *(each for each in LANES if each != of_class)
            known = self._turns[partition, of_class] = (
                self._keys.accounts(partition, of_class),
                *(self._keys.turns(partition, s, each) for each in classes for s in self._stages),
            )
        return known


class FollowUp:
    """What one append leads to; it plans each try to append."""

    def __init__(self, of: FollowUps, partition: int, client_id: str, may_keep: MayKeep) -> None:
        self._of = of
        self._partition = partition
        self._client_id = client_id
        self._may_keep = may_keep
        self._planned: list[tuple[int, Task, bool]] = []

    def __call__(self, events: Sequence[Event]) -> DispatchOption | None:
        """Plan the events; see ``store.log.append.Planner``."""
        self._planned = [
            (number, task, self._may_keep(task))
            for number, event in enumerate(events, 1)
            for task in plan(event, _CAUSE)
        ]
        return self._of.option(self._partition, self._client_id, self._planned)

    def kept(self, outcome: Appended, clients: int) -> tuple[Claimed, ...]:
        """Return the tasks that the consumer holds after the append; ``clients`` as in Claimed."""
        kept: list[Claimed] = []
        for (number, task, _), entry_id in zip(self._planned, outcome.task_ids, strict=False):
            if entry_id:
                cause = Position.of_entry(self._partition, outcome.entry_ids[number - 1])
                claim = self._of.claim_of(self._partition, task, entry_id)
                caused = msgspec.structs.replace(task, cause=str(cause))
                kept.append(Claimed(task=caused, claim=claim, clients=clients))
        return tuple(kept)
