"""What a partition holds, read only once it is as safe as the settings promise.

With ``Wait`` an event is safe once it is on the disks that ``Wait`` names. An answer, a removed
file, a row or a task that rests on an unsafe event would outlive the event if a failover took it
away. So whoever acts on what it reads asks for it here: the server is read and asked to confirm in
a single exchange on one connection. If these were two, a failover or a restart between them could
lose what was read and confirm what is left.

| key | type | what |
|---|---|---|
| ``photolog:{07}:settled`` | string | written only to be waited for |

A server confirms what was written on a connection, and all that came before it; so the exchange
writes this key. Without ``Wait`` nothing is asked: what the server has answered counts as safe.
"""

from collections.abc import Sequence
from typing import Any

from store.keys import Keys
from store.redis.connection import Client, Wait, translated


class Durability:
    """``wait`` says what is waited for; None: nothing."""

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
        """Return the reply to ``command`` on the partition's keys once all that it tells is safe.

        Raises:
            Unavailable: no reply, or it is not known to be safe.
        """
        commands: list[Sequence[Any]] = [command] if command else []
        if self.wait is not None:
            write = "SET", self._keys.settled(partition), ""
            commands += [write, *self.wait.commands]
        if not commands:
            return None
        with translated():
            replies = await self._redis.in_a_row(*commands)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            if self.wait is not None:
                self.wait.check(replies)
        return replies[0]
