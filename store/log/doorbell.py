"""The doorbell: signals that a projector has committed, and carries no content.

Redis Pub/Sub may lose a ring, so readers also poll.
"""

import time
from typing import Any, cast

from redis.asyncio.client import PubSub

from store.log.log import Log
from store.redis.connection import translated


async def ring(log: Log) -> None:
    """Ring. Raises Unavailable, which the caller may ignore: readers also poll."""
    with translated():
        redis: Any = log.redis
        await redis.publish(log.keys.projected, b"")


class Doorbell:
    """One listener. ``wait`` opens the subscription, and reopens it after a failure."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._pubsub: PubSub | None = None

    async def wait(self, timeout_s: float) -> bool:
        """Return whether it rang within ``timeout_s``; several rings count as one.

        Raises:
            Unavailable: Redis is away; call ``wait`` again later.
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
