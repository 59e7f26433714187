"""What operators allow: paused stages, and the concurrency and rates of stages."""

import uuid
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime

import anyio

from domain.photo.events import Context
from domain.pipeline.control import Controls, EndPauses
from domain.pipeline.control_events import Rate
from store.errors import Unavailable
from store.log.control import ControlLog
from store.log.log import Log
from store.outage import PAUSE_S
from store.queue.rates import Rates

SOURCE = "worker"
"""The source and the actor of the events that end a pause at its time."""

ANSWER_S = 0.5
"""How long to wait for the reply about a token."""


class StageLimits:
    """The operators' settings as one worker last read them.

    ``version`` is that of the settings, 0 before the first ``load``. ``wait_s`` is the time until
    the next token, if the last ``take`` lacked one, else None.
    """

    def __init__(self, log: Log) -> None:
        self._log = ControlLog(log)
        self._rates = Rates(log)
        self._controls = Controls()
        self.version = 0
        self.wait_s: float | None = None

    @property
    def concurrency(self) -> int | None:
        """The most tasks of each worker; None if operators have not set it."""
        return self._controls.concurrency

    async def load(self) -> bool:
        """Load the current settings, end the pauses whose end has come; return whether they have
        changed.
        """
        before, steered = self._controls, await self._log.load()
        now = datetime.now(UTC)
        if any(end <= now for end in steered.controls.pause_ends.values()):
            context = Context(now=now, source=SOURCE, actor=SOURCE, trace_id=uuid.uuid4().hex)
            steered = await self._log.execute(EndPauses(now=now), context)
        self._controls, self.version = steered.controls, steered.version
        return before != self._controls

    def is_paused(self, stage: str) -> bool:
        return self._controls.is_paused(stage)

    def is_free(self, stage: str) -> bool:
        """Return whether operators have neither paused nor limited the stage."""
        limit = self._controls.limit(stage)
        return not self.is_paused(stage) and limit.concurrency is None and limit.rate is None

    def left(self, stage: str, busy: int) -> int | None:
        """Return how many tasks a worker that runs ``busy`` of the stage may begin; None: any."""
        if self._controls.is_paused(stage):
            return 0
        most = self._controls.limit(stage).concurrency
        return None if most is None else max(0, most - busy)

    async def take(self, stages: Collection[str]) -> dict[str, Rate | None]:
        """Take a token for each stage; return the stages that got one, each with its rate."""
        self.wait_s = None
        tokens: dict[str, Rate | None] = {}
        for stage in stages:
            rate = self._controls.limit(stage).rate
            wait_s = 0.0 if rate is None else await self._take_one(stage, rate)
            if wait_s == 0:
                tokens[stage] = rate
            else:
                self.wait_s = min(wait_s, self.wait_s or wait_s)
        return tokens

    async def give_back(self, tokens: dict[str, Rate | None]) -> None:
        for stage, rate in tokens.items():
            if rate is not None:
                with anyio.move_on_after(ANSWER_S), suppress(Unavailable):
                    await self._rates.give_back(stage, rate)

    async def _take_one(self, stage: str, rate: Rate) -> float:
        """Take a token; return 0 or the seconds to wait. A silent server delays only this stage."""
        with anyio.move_on_after(ANSWER_S), suppress(Unavailable):
            return await self._rates.take(stage, rate)
        return PAUSE_S
