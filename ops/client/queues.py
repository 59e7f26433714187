"""The answers of a gateway about the queues of the stages."""

import msgspec

from ops.errors import UserError

ALL = "all"
"""Stands for all stages."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The fields of an answer that this code needs; newer servers may send more."""


class Rate(Answer, frozen=True, kw_only=True):
    max: int
    duration_ms: int


class Limit(Answer, frozen=True, kw_only=True):
    concurrency: int | None = None
    rate: Rate | None = None


class Lane(Answer, frozen=True, kw_only=True):
    waiting: int
    clients: int = 0


class Queue(Answer, frozen=True, kw_only=True):
    """A stage. ``in_per_s`` and ``out_per_s`` are tasks that entered and left; None if unknown.

    ``paused``, ``state`` and ``limit`` are None while the gateway cannot read what operators have
    set. A paused stage is ``draining`` until it is idle.
    """

    stage: str
    lanes: dict[str, Lane]
    in_progress: int
    delayed: int
    oldest_age_ms: int | None
    in_per_s: float | None = None
    out_per_s: float | None = None
    paused: bool | None
    paused_until: str | None = None
    state: str | None = None
    limit: Limit | None
    dead_letters: int

    @property
    def waiting(self) -> int:
        """Return how many tasks wait in the lanes; delayed ones wait for their time instead."""
        return sum(lane.waiting for lane in self.lanes.values())


class Doing(Answer, frozen=True, kw_only=True):
    stage: str
    photo_id: str
    attempt: int
    silent_ms: int


class Worker(Answer, frozen=True, kw_only=True):
    name: str
    silent_ms: int
    doing: list[Doing]


class Reader(Answer, frozen=True, kw_only=True):
    name: str
    silent_ms: int


class Partition(Answer, frozen=True, kw_only=True):
    partition: int
    server: str | None
    answers: bool
    to_plan: int | None
    readers: list[Reader]


class LogMemory(Answer, frozen=True, kw_only=True):
    used_bytes: int
    max_bytes: int


class Queues(Answer, frozen=True, kw_only=True):
    """All stages. ``rates_over_ms`` is the period of the rates; None if there are none yet."""

    all_paused: bool | None
    concurrency: int | None
    rates_over_ms: int | None = None
    stages: list[Queue]
    workers: list[Worker]
    log_memory: LogMemory | None = None
    partitions: list[Partition] = []

    @property
    def dead_letters(self) -> int:
        return sum(each.dead_letters for each in self.stages)

    @property
    def waiting_low(self) -> int:
        """Return the number of tasks in the low lanes of all stages."""
        return sum(each.lanes["low"].waiting for each in self.stages)

    @property
    def silent(self) -> list[Partition]:
        """Return the partitions that do not answer; their tasks are not counted."""
        return [each for each in self.partitions if not each.answers]

    def of(self, stage: str) -> list[Queue]:
        """Return the queue of the stage, or those of ``all``; none if the stage is unknown."""
        return [each for each in self.stages if stage in (each.stage, ALL)]

    def limit_of(self, stage: str) -> Limit:
        """Return the limit of the stage, or of ``all``; raises UserError if it is unknown."""
        if self.all_paused is None:
            raise UserError(
                "the current limits are unknown, because partition 0 does not answer: try later"
            )
        found = {each.stage: each.limit or Limit() for each in self.stages}
        return found.get(stage, Limit()) if stage != ALL else Limit(concurrency=self.concurrency)


class StagePoint(Answer, frozen=True, kw_only=True):
    waiting: int


class Point(Answer, frozen=True, kw_only=True):
    stages: dict[str, StagePoint]


class Series(Answer, frozen=True, kw_only=True):
    """The last hour, oldest first."""

    items: list[Point]


class Held(Answer, frozen=True, kw_only=True):
    stage: str
    paused: bool
    paused_until: str | None = None
    limit: Limit
    position: str


class Cancelled(Answer, frozen=True, kw_only=True):
    cancelled: int
    remaining: int


class Drain(Answer, frozen=True, kw_only=True):
    """Whether a stage is paused and idle, and what keeps it from being idle."""

    stage: str
    paused: bool
    idle: bool
    running: int
    unaware: list[str]
    silent: list[int]
    workers: list[Worker]
