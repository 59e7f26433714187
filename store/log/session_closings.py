"""Whether a session is closed that has no state in Redis.

Such a session was never closed, or its state was evicted, see ``eviction``. Then its closing is in
the archive, at or before the position up to which events have left the stream. That position has
moved since a process looked a session up if the session was closed and evicted since then. So
``append.lua`` compares it with the one that the process has looked up to, and the process looks
again only if they differ.
"""

from collections import OrderedDict

import msgspec

from domain.sessions.events import SessionClosed, chain_of
from store.log.archived import trimmed_of
from store.log.stream import Stream
from store.redis.connection import translated

UNKNOWN = b"?"
"""No record of what was trimmed: it differs from each, and from one that was lost."""

REMEMBERED = 10_000
"""How many sessions a process remembers; about 300 bytes each."""


class SessionClosings:
    """Looks for the closings of sessions in the archive, and remembers those without one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._looked_at: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def looked_at(self, client_id: str, session_id: str) -> bytes:
        """Return the record of what was trimmed for which the session is known not to be closed.

        It is empty if nothing was trimmed, and ``UNKNOWN`` if nobody has looked.
        """
        return self._looked_at.get((client_id, session_id), UNKNOWN)

    async def find(self, partition: int, client_id: str, session_id: str) -> bool:
        """Return whether the archive has the closing of the session; remember it if not.

        Raises:
            Corrupt, Unavailable: the archive cannot be read, and it alone has some of the events.
        """
        stream = self._stream
        with translated():  # first: what is trimmed later is looked for by the next call
            reply = await stream.redis.get(stream.keys.trimmed(partition))
            trimmed = msgspec.convert(reply, bytes | None) or b""
        if not trimmed and not (await stream.removed(partition)).entries:
            self._remember(client_id, session_id, trimmed)
            return False
        chain_id = chain_of(client_id, session_id)
        found, upto = await stream.sealed_of(partition, chain_id)
        if any(isinstance(each.event.data, SessionClosed) for each in found):
            return True
        if upto < (end := trimmed_of(partition, trimmed)):  # the list of segments is older
            async for each in stream.scan(partition, after=upto):
                data = each.event.data
                if isinstance(data, SessionClosed) and data.photo_id == chain_id:
                    return True
                if each.position >= end:
                    break
        self._remember(client_id, session_id, trimmed)
        return False

    def _remember(self, client_id: str, session_id: str, trimmed: bytes) -> None:
        self._looked_at[client_id, session_id] = trimmed
        self._looked_at.move_to_end((client_id, session_id))
        while len(self._looked_at) > REMEMBERED:
            self._looked_at.popitem(last=False)
