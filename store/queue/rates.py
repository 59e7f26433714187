"""Rate limits of stages, shared by all workers: token buckets in Redis, by the server's clock."""

import msgspec

from domain.pipeline.control_events import Rate
from store.log.log import Log
from store.redis.connection import translated


class Rates:
    """The buckets, one per stage. A lost bucket is full again."""

    def __init__(self, log: Log) -> None:
        self._keys = log.keys
        self._script = log.redis.lua("queue/rate")

    async def take(self, stage: str, rate: Rate) -> float:
        """Take one token and return 0; or return the seconds until there is one."""
        taken, wait_ms = await self._run(stage, rate, 1)
        return 0.0 if taken == 1 else max(1, wait_ms) / 1000

    async def give_back(self, stage: str, rate: Rate) -> None:
        """Give back a token that was not used."""
        await self._run(stage, rate, -1)

    async def _run(self, stage: str, rate: Rate, tokens: int) -> tuple[int, int]:
        with translated():
            reply = await self._script(
                keys=[self._keys.bucket(stage)], args=[rate.max, rate.duration_ms, tokens]
            )
            return msgspec.convert(reply, tuple[int, int])
