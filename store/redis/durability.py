"""Reads from a partition once its contents are as safe as the settings promise.

With ``Wait`` an event is safe once it is on the disks that ``Wait`` names. An answer, a removed
file, a row or a task that rests on an unsafe event would outlive the event if a failover took it
away. So callers that act on what they read use this module: it reads and asks for confirmation in
one exchange on one connection. With two exchanges, a failover or restart in between could lose what
was read and confirm what is left.

| key | type | what |
|---|---|---|
| ``photolog:{07}:settled`` | string | written only to wait for it |

A server confirms the writes of a connection and all writes before them; so the exchange writes this
key. Without ``Wait`` there is no confirmation: every answer of the server counts as safe.
"""

from collections.abc import Sequence
from typing import Any

from store.keys import Keys
from store.redis.connection import Client, Wait, translated


class Durability:
    """Waits as ``wait`` says; None means not at all."""

    def __init__(self, redis: Client, keys: Keys, wait: Wait | None) -> None:
        self._redis = redis
        self._keys = keys
        self.wait = wait

    async def settle(self, partition: int) -> None:
        """Return once all that the partition holds now is safe, whoever wrote it.

        Raises:
            Unavailable: it is not known to be safe.
        """
        await self.read(partition)

    async def read(self, partition: int, *command: Any) -> Any:
        """Return the reply to ``command`` on the partition's keys once its contents are safe.

        Raises:
            Unavailable: no reply, or it is not known to be safe.
        """
        replies = await self.read_all(partition, *([command] if command else []))
        return replies[0] if replies else None

    async def read_all(self, partition: int, *commands: Sequence[Any]) -> Sequence[Any]:
        """Return the replies to several commands at once, as the server sent them; see ``read``."""
        sent = list(commands)
        if self.wait is not None:
            sent.append(("SET", self._keys.settled(partition), ""))
        if not sent:
            return ()
        with translated():
            replies = await self._redis.exchange(sent, self.wait)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies[: len(commands)]
