"""The doorbell: says that a projector has committed, and nothing else.

Redis Pub/Sub may lose a ring; whoever waits looks again after a while anyway.
"""

import time
from typing import Any, cast

from redis.asyncio.client import PubSub

from store.log.log import Log
from store.redis.connection import translated


async def ring(log: Log) -> None:
    """Raises Unavailable; the caller may ignore it, because readers also look by themselves."""
    with translated():
        redis: Any = log.redis
        await redis.publish(log.keys.projected, b"")


class Doorbell:
    """One listener. ``wait`` opens the subscription, and opens it again after a failure."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._pubsub: PubSub | None = None

    async def wait(self, timeout_s: float) -> bool:
        """Whether it rang within ``timeout_s``; rings that have arrived are answered as one.

        Raises:
            Unavailable: Redis is away; ``wait`` again later.
        """
        try:
            with translated():
                return await self._wait(time.monotonic() + timeout_s)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            await pubsub.aclose()

    async def _wait(self, until: float) -> bool:
        if self._pubsub is None:
            redis: Any = self._log.redis
            self._pubsub = cast("PubSub", redis.pubsub(ignore_subscribe_messages=True))
            await self._pubsub.subscribe(self._log.keys.projected)
        pubsub = self._pubsub
        rang = False
        while (left := 0.0 if rang else until - time.monotonic()) >= 0:
            if await pubsub.get_message(timeout=left) is not None:
                rang = True
            elif rang:
                return True
        return rang
