"""Which photo of a client has which bytes: folded from the log again where that was lost.

| key | type | what |
|---|---|---|
| ``photolog:{07}:sha256:<clientId>`` | hash | content hash to photo id |
| ``photolog:{07}:clients`` | hash | the names of the keys above, of all clients with an upload |

In both the field ``""`` says that nothing is missing. A client whose hash lacks it is new if the
clients are complete without it, or the log is empty; otherwise its hash was lost. So the first
upload of a client reads no log, and a deleted key costs one fold of its partition.
"""

import anyio

from domain import events as e
from store.append import Append, Step
from store.client import Client, translated
from store.keys import Keys
from store.position import Position
from store.stream import Stream

UNSURE = [b"unsure"]


class Claims:
    """Appends, with the client's content hashes put back first where they were lost."""

    def __init__(self, stream: Stream, append: Append) -> None:
        self._redis: Client = stream.redis
        self._keys: Keys = stream.keys
        self._stream = stream
        self._append = append
        self._script = stream.redis.lua("claims")
        self._one_folds = anyio.Lock()

    async def send(self, step: Step) -> list[bytes]:
        """As ``Append.send``."""
        reply = await self._append.send(step)
        if reply != UNSURE:
            return reply
        async with self._one_folds:  # whoever waited finds it done
            reply = await self._append.send(step)
            if reply == UNSURE:
                await self._restore(step.partition, step.client_id)
                reply = await self._append.send(step)
            return reply

    async def _restore(self, partition: int, client_id: str) -> None:
        clients: set[str] = set()
        held: dict[str, str] = {}
        claimed: dict[str, str] = {}
        position, restored = Position.start(partition), False
        while not restored:
            last = await self._stream.last_entry(partition)
            async for recorded in self._stream.scan(partition, after=position):
                position = recorded.position
                data, owner = recorded.event.data, recorded.event.metadata.client_id
                if isinstance(data, e.PhotoUploaded):
                    clients.add(owner)
                    if owner == client_id:
                        held[data.photo_id] = data.sha256
                        claimed.setdefault(data.sha256, data.photo_id)
                elif isinstance(data, e.PhotoDeleted):
                    sha256 = held.pop(data.photo_id, "")
                    if claimed.get(sha256) == data.photo_id:
                        del claimed[sha256]
            keys = self._keys
            with translated():
                restored = await self._script(
                    keys=[
                        keys.log(partition),
                        keys.clients(partition),
                        keys.sha256(partition, client_id),
                    ],
                    args=[
                        max(last, position).entry_id,
                        len(clients),
                        *(keys.sha256(partition, each) for each in sorted(clients)),
                        *(part for claim in claimed.items() for part in claim),
                    ],
                )
