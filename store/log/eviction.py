"""Removes the cached states of photos and upload sessions at rest, whose events are in the archive
alone.

| key | type | what |
|---|---|---|
| ``photolog:{07}:evicted`` | string | the position up to which the events of these ended |

A state is removed only if its version, digest and position are still those that were read, and its
last event has left the stream. A command on the photo or session that comes meanwhile conflicts,
loads it from the archive and puts its state back, see ``Log`` and ``SessionLog``. So ``evicted``
bounds two things: the archiver goes on after it, and a state that ends before it is not put back to
be read.

If ``evicted`` is lost, the archiver begins again, which removes nothing that is needed.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec

from domain.photo.state import is_at_rest
from domain.sessions import session
from domain.sessions.events import SessionEvent
from store.concurrently import for_each
from store.errors import Corrupt, Unexpected
from store.log import codec
from store.log.archived import trimmed_of
from store.log.position import Position
from store.log.recorded import Recorded
from store.log.states import States
from store.redis.connection import translated

logger = logging.getLogger("photolog.log")

AT_ONCE = 64
"""How many states are read, and then removed, together."""


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """A cached state as it is stored, under ``key``."""

    key: str
    version: bytes
    digest: bytes
    position: bytes
    state: bytes


class Eviction:
    """Removes states of the log ``log_id``."""

    def __init__(self, states: States, log_id: str) -> None:
        self._states = states
        self._log_id = log_id
        self._script = states.redis.lua("log/evict")

    async def evicted(self, partition: int) -> Position:
        """Return the position up to which states were removed; the start if none were."""
        with translated():
            reply = await self._states.redis.get(self._states.keys.evicted(partition))
            return trimmed_of(partition, msgspec.convert(reply, bytes | None))

    async def record(self, upto: Position) -> None:
        """Record that the states of all photos and sessions at rest that end here were removed."""
        with translated():
            await self._states.redis.set(self._states.keys.evicted(upto.partition), str(upto))

    async def evict(self, upto: Position, photo_ids: Sequence[str]) -> int:
        """Remove the states of those of the photos that are at rest and have no event after
        ``upto``, which must have left the stream; return how many were removed.

        Raises Unavailable.
        """
        keys = [self._states.keys.photo(upto.partition, each) for each in photo_ids]
        return await self._evict(upto.partition, keys, lambda each: _may_go(each, upto))

    async def evict_sessions(self, partition: int, ends: Iterable[Recorded]) -> int:
        """Remove the states of those of the sessions whose last events are among ``ends``, which
        must have left the stream, and that are at rest; return how many were removed.

        Raises Unavailable.
        """
        last: dict[str, bytes] = {}
        for each in ends:
            data = each.event.data
            if isinstance(data, SessionEvent) and session.is_at_rest(data):
                key = self._states.keys.upload_session(partition, data.client_id, data.session_id)
                last[key] = each.position.entry_id.encode()
        return await self._evict(partition, [*last], lambda each: last[each.key] == each.position)

    async def _evict(
        self, partition: int, keys: Sequence[str], may_go: Callable[[_State], bool]
    ) -> int:
        removed = 0
        for at in range(0, len(keys), AT_ONCE):
            found = await for_each(self._read, keys[at : at + AT_ONCE])
            resting = [each for each in found if each is not None and may_go(each)]
            if resting:
                removed += await self._remove(partition, resting)
        return removed

    async def _read(self, key: str) -> _State | None:
        with translated():
            reply = await self._states.redis.hmget(key, ["v", "d", "p", "s"])
            version, digest, position, state = msgspec.convert(reply, list[bytes | None])
        if version is None or digest is None or position is None or state is None:
            return None
        return _State(key=key, version=version, digest=digest, position=position, state=state)

    async def _remove(self, partition: int, found: Sequence[_State]) -> int:
        keys = self._states.keys
        with translated():
            reply = await self._script(
                keys=[
                    keys.log(partition),
                    keys.identity(partition),
                    *(each.key for each in found),
                ],
                args=[
                    self._log_id,
                    *(
                        part
                        for each in found
                        for part in (each.version, each.digest, each.position)
                    ),
                ],
            )
            return sum(msgspec.convert(reply, list[int]))


def _may_go(state: _State, upto: Position) -> bool:
    try:
        position = Position.of_entry(upto.partition, state.position)
        return position <= upto and is_at_rest(codec.decode_photo(state.state))
    except (Corrupt, Unexpected, ValueError) as error:  # the next load puts it right
        logger.warning("the cached state %s is damaged: %s", state.key, error)
        return False
