"""What waits for a decoder, and what is next for one that is free.

First come tasks whose picture the decoder has, for it keeps only a few, and those that need none.
Then come those that have to be decoded, or whose picture is with a decoder that is busy for long;
and last those that have only waited long for the decoder that has their picture. Among each of
these, clients take turns (``handlers.decoder.turns``), and no decoded picture brings a client far
ahead of one that waits for its first.

Two things can hold a task back, and never one that is cheap:

- it needs more memory than the allowance, and that much is not spare now
  (``handlers.decoder.budget``);
- it takes long, and of several decoders only one would be left for others.
"""

import math
from collections.abc import Callable, Collection
from pathlib import Path

import anyio
import msgspec

from domain.pipeline.failures import Category
from handlers.decoder.budget import Budget
from handlers.decoder.process import bad_answer
from handlers.decoder.protocol import Request
from handlers.decoder.turns import Turns
from handlers.imaging.cost import Cost
from handlers.registry import ORIGINAL, Stage
from handlers.stage import Output, StageFailure

USUAL_S = 0.1
"""What a task is taken to cost until it has ended, unless more is known."""

AHEAD_S = 2.0
"""How much more decoder time than another a client may have used and still be served first, because
its picture is decoded. More than the stages of an ordinary photo take after its validation."""

Has = Callable[[str], bool]
"""Whether the picture of a photo is decoded, or about to be."""


class Job:
    """A task on its way. ``outcome`` stays None if the pool is left before it has one.

    ``cost`` is None until a decoder has looked at the header, if it ever has to say. ``is_slow``
    is what it has turned out to be. ``seconds`` is how long decoders have worked on it.
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
    ) -> None:
        self.request = Request(
            stage=stage, photo=photo, sha256=sha256, allowed=Cost(memory_bytes=0, seconds=0)
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
    """Tasks in the order in which they came, for ``decoders`` of them."""

    def __init__(
        self, stages: dict[str, Stage], budget: Budget, expensive_s: float, decoders: int
    ) -> None:
        self._stages = stages
        self._budget = budget
        self._expensive_s = expensive_s if decoders > 1 else math.inf
        self._decoders = decoders
        self._turns = Turns()
        self._slow_ones: set[Job] = set()
        self.waiting: list[Job] = []

    @property
    def has_quick_ones(self) -> bool:
        """Whether a task waits that is not known to take long."""
        return any(not (job.is_expensive or job.is_slow) for job in self.waiting)

    def add(self, job: Job) -> None:
        self._turns.come(job.client)
        self.waiting.append(job)

    def forget(self, job: Job) -> None:
        """It has ended, or nobody waits for it any more."""
        job.is_forgotten = True
        if job in self.waiting:
            self.waiting.remove(job)
        self._turns.go(job.client)

    def take(self, has: Has, others_have: Has, stuck: Has, impatient_since: float) -> Job | None:
        """The next task for a decoder that ``has`` pictures, with its memory and its turn paid.

        Of the pictures that ``others_have``, some are ``stuck`` behind what takes long.
        """
        held_back = False
        quick = to_decode = impatient = None
        for job in self._by_turn():
            photo, of_original = job.request.photo, self._is_of_original(job)
            held = of_original and has(photo)
            if not held and not self._may_begin(job, held_back):
                # What comes later must not take the memory that this one waits for.
                held_back = held_back or self._budget.extra_bytes(job.cost) > 0
            elif held or not of_original:
                quick = quick or job
            elif not others_have(photo) or stuck(photo):
                to_decode = to_decode or job
            elif job.since <= impatient_since:
                impatient = impatient or job
        if quick and to_decode and self._is_too_far_ahead(quick, to_decode):
            quick = None
        job = quick or to_decode or impatient
        return job and self._begin(job, has(job.request.photo) and self._is_of_original(job))

    def learn(self, job: Job, cost: Cost) -> StageFailure | None:
        """Note what a decoder says that a task costs; the failure if that is too much for ever."""
        if job.cost is not None:
            return bad_answer("another cost than the one that was allowed")
        job.cost = cost
        job.is_expensive = cost.seconds > self._expensive_s
        if cost.memory_bytes <= self._budget.largest_bytes:
            return None
        message = (
            f"To decode {cost.pixels / 1e6:.0f} megapixels takes about "
            f"{cost.memory_bytes / 1e6:.0f} MB of memory, and this worker's decoders may use "
            f"{self._budget.largest_bytes / 1e6:.0f} MB for one picture."
        )
        return StageFailure(Category.RESOURCE, "needs-too-much-memory", message)

    def give_back(self, job: Job, took_s: float) -> None:
        """A decoder is done with the task, after that long."""
        self._budget.give_back(job)
        self._slow_ones.discard(job)
        self._turns.end(job.client, job.charged_s, took_s)

    def mark_slow(self, job: Job) -> None:
        """It turns out to take long."""
        job.is_slow = True
        self._slow_ones.add(job)

    def put_back(self, job: Job) -> None:
        """It waits again, where it stood, if anybody waits for it."""
        if job.is_forgotten:
            return
        at = next((i for i, each in enumerate(self.waiting) if each.since > job.since), None)
        self.waiting.insert(len(self.waiting) if at is None else at, job)

    def is_held(self, job: Job, photos: Collection[str]) -> bool:
        """Whether a decoder that has the pictures of these photos needs no file for the task."""
        return self._is_of_original(job) and job.request.photo in photos

    def _by_turn(self) -> list[Job]:
        return sorted(self.waiting, key=lambda job: self._turns.used_s(job.client))

    def _is_too_far_ahead(self, job: Job, other: Job) -> bool:
        ahead_s = self._turns.used_s(job.client) - self._turns.used_s(other.client)
        return ahead_s > AHEAD_S

    def _may_begin(self, job: Job, held_back: bool) -> bool:
        extra = self._budget.extra_bytes(job.cost)
        if extra and (held_back or not self._budget.has_room(extra)):
            return False
        is_slow = job.is_expensive or job.is_slow
        return not is_slow or self._decoders < 2 or len(self._slow_ones) < self._decoders - 1

    def _begin(self, job: Job, held: bool) -> Job:
        self.waiting.remove(job)
        job.began = anyio.current_time()
        job.began_as_slow = not held and (job.is_expensive or job.is_slow)
        if job.began_as_slow:
            self._slow_ones.add(job)
        self._budget.take(job, 0 if held else self._budget.extra_bytes(job.cost))
        cost = job.cost or Cost(memory_bytes=0, seconds=0)
        job.charged_s = max(USUAL_S, cost.seconds)
        self._turns.begin(job.client, job.charged_s)
        allowed = Cost(
            memory_bytes=max(cost.memory_bytes, self._budget.allowance_bytes),
            seconds=max(cost.seconds, self._expensive_s),
        )
        job.request = msgspec.structs.replace(job.request, allowed=allowed)
        return job

    def _is_of_original(self, job: Job) -> bool:
        stage = self._stages.get(job.request.stage)
        return stage is not None and stage.needs == ORIGINAL
