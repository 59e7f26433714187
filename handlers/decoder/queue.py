"""The queue for decoders: which task a free decoder runs next.

First come tasks whose picture the decoder has (it keeps only a few), and tasks that do not work on
the original. Then come tasks whose picture must be decoded, or is with a decoder that has been busy
for long. Last come tasks that have waited long for the decoder that has their picture. Within each
group, clients take turns (``handlers.decoder.turns``), and a decoded picture does not bring a
client far ahead of one that waits for its first.

Two things can hold back a task, but never a cheap one:

- it needs more memory than the allowance, and the spare memory is not enough now
  (``handlers.decoder.budget``);
- it takes long, and with it no decoder would be left for quick tasks.
"""

import math
from collections.abc import Callable, Collection
from pathlib import Path

import anyio
import msgspec

from domain.photo.results import ORIGINAL
from domain.pipeline.failures import Category
from handlers.decoder.budget import Budget
from handlers.decoder.process import bad_answer
from handlers.decoder.protocol import Request
from handlers.decoder.turns import ClientUsage
from handlers.imaging.cost import Cost
from handlers.registry import Stage
from handlers.stage import Origin, Output, StageFailure

USUAL_S = 0.1
"""The expected cost of a task until it ends, unless its picture is known to cost more."""

AHEAD_S = 2.0
"""How far ahead of another client, in decoder time, a client may be and still go first because its
picture is decoded. More than the stages of an ordinary photo take after its validation."""

Has = Callable[[str], bool]
"""Returns whether the picture of a photo is decoded, or about to be."""


class DecodeTask:
    """A task that waits for a decoder or runs. ``outcome`` stays None if the pool closes first.

    ``cost`` is None unless a decoder has reported it from the header. ``is_expensive`` is expected
    from the cost, ``is_slow`` observed. ``seconds`` is the time that decoders have worked on it.
    """

    def __init__(
        self,
        stage: str,
        photo: str,
        source: Path,
        *,
        client: str,
        timeout_s: float,
        sha256: str | None,
        origin: Origin | None = None,
    ) -> None:
        self.request = Request(
            stage=stage,
            photo=photo,
            sha256=sha256,
            allowed=Cost(memory_bytes=0, seconds=0),
            origin=origin or Origin(),
        )
        self.source = source
        self.client = client
        self.timeout_s = timeout_s
        self.since = self.began = anyio.current_time()
        self.ended = anyio.Event()
        self.outcome: Output | StageFailure | None = None
        self.cost: Cost | None = None
        self.charged_s = self.seconds = 0.0
        self.is_expensive = self.is_slow = self.began_as_slow = False
        self.preempted = self.is_forgotten = False


class Queue:
    """The waiting tasks, in order of arrival, of a pool with ``decoders`` processes."""

    def __init__(
        self, stages: dict[str, Stage], budget: Budget, expensive_s: float, decoders: int
    ) -> None:
        self._stages = stages
        self._budget = budget
        self._expensive_s = expensive_s if decoders > 1 else math.inf
        self._decoders = decoders
        self._usage = ClientUsage()
        self._slow_ones: set[DecodeTask] = set()
        self.waiting: list[DecodeTask] = []

    @property
    def has_quick_ones(self) -> bool:
        """Whether a task waits that is not known to take long (``Pace``)."""
        return any(not (task.is_expensive or task.is_slow) for task in self.waiting)

    def add(self, task: DecodeTask) -> None:
        self._usage.add(task.client)
        self.waiting.append(task)

    def forget(self, task: DecodeTask) -> None:
        """Remove a task that has ended, or that nobody waits for any more."""
        task.is_forgotten = True
        if task in self.waiting:
            self.waiting.remove(task)
        self._usage.remove(task.client)

    def take(
        self, has: Has, others_have: Has, is_stuck: Has, impatient_since: float
    ) -> DecodeTask | None:
        """Take the next task for a decoder; reserve its memory and charge its client.

        ``has`` tells which pictures the decoder has, ``others_have`` which the others have, and
        ``is_stuck`` which of those are with decoders that have been busy for long. A task that has
        waited since ``impatient_since`` is decoded again here.
        """
        held_back = False
        quick = to_decode = impatient = None
        for task in self._by_turn():
            photo, of_original = task.request.photo, self._is_of_original(task)
            held = of_original and has(photo)
            if not held and not self._may_begin(task, held_back):
                # Later tasks must not take the memory that this one waits for.
                held_back = held_back or self._budget.extra_bytes(task.cost) > 0
            elif held or not of_original:
                quick = quick or task
            elif not others_have(photo) or is_stuck(photo):
                to_decode = to_decode or task
            elif task.since <= impatient_since:
                impatient = impatient or task
        if quick and to_decode and self._is_too_far_ahead(quick, to_decode):
            quick = None
        task = quick or to_decode or impatient
        return task and self._begin(task, has(task.request.photo) and self._is_of_original(task))

    def learn(self, task: DecodeTask, cost: Cost) -> StageFailure | None:
        """Note a task's cost as a decoder reported it; return a failure if it can never fit."""
        if task.cost is not None:
            return bad_answer("a cost that differs from the one reported before")
        task.cost = cost
        task.is_expensive = cost.seconds > self._expensive_s
        if cost.memory_bytes <= self._budget.largest_bytes:
            return None
        message = (
            f"Decoding {cost.pixels / 1e6:.0f} megapixels takes about "
            f"{cost.memory_bytes / 1e6:.0f} MB of memory, but this worker's decoders may use only "
            f"{self._budget.largest_bytes / 1e6:.0f} MB for one picture."
        )
        return StageFailure(Category.RESOURCE, "needs-too-much-memory", message)

    def give_back(self, task: DecodeTask, took_s: float) -> None:
        """Free what a task has reserved; its decoder worked on it for ``took_s``."""
        self._budget.give_back(task)
        self._slow_ones.discard(task)
        self._usage.end(task.client, task.charged_s, took_s)

    def mark_slow(self, task: DecodeTask) -> None:
        """Note that the task takes long."""
        task.is_slow = True
        self._slow_ones.add(task)

    def put_back(self, task: DecodeTask) -> None:
        """Put the task back where it stood in the queue, unless nobody waits for it any more."""
        if task.is_forgotten:
            return
        at = next((i for i, each in enumerate(self.waiting) if each.since > task.since), None)
        self.waiting.insert(len(self.waiting) if at is None else at, task)

    def is_held(self, task: DecodeTask, photos: Collection[str]) -> bool:
        """Return whether a decoder that has these pictures needs no file for the task."""
        return self._is_of_original(task) and task.request.photo in photos

    def _by_turn(self) -> list[DecodeTask]:
        return sorted(self.waiting, key=lambda task: self._usage.used_s(task.client))

    def _is_too_far_ahead(self, task: DecodeTask, other: DecodeTask) -> bool:
        ahead_s = self._usage.used_s(task.client) - self._usage.used_s(other.client)
        return ahead_s > AHEAD_S

    def _may_begin(self, task: DecodeTask, held_back: bool) -> bool:
        extra = self._budget.extra_bytes(task.cost)
        if extra and (held_back or not self._budget.has_room(extra)):
            return False
        is_slow = task.is_expensive or task.is_slow
        return not is_slow or self._decoders < 2 or len(self._slow_ones) < self._decoders - 1

    def _begin(self, task: DecodeTask, held: bool) -> DecodeTask:
        self.waiting.remove(task)
        task.began = anyio.current_time()
        task.began_as_slow = not held and (task.is_expensive or task.is_slow)
        if task.began_as_slow:
            self._slow_ones.add(task)
        self._budget.take(task, 0 if held else self._budget.extra_bytes(task.cost))
        cost = task.cost or Cost(memory_bytes=0, seconds=0)
        task.charged_s = max(USUAL_S, cost.seconds)
        self._usage.begin(task.client, task.charged_s)
        allowed = Cost(
            memory_bytes=max(cost.memory_bytes, self._budget.allowance_bytes),
            seconds=max(cost.seconds, self._expensive_s),
        )
        task.request = msgspec.structs.replace(task.request, allowed=allowed)
        return task

    def _is_of_original(self, task: DecodeTask) -> bool:
        stage = self._stages.get(task.request.stage)
        return stage is not None and stage.needs == ORIGINAL
