"""Cached states beside a stream: one for each photo, and one for the controls.

A state is a hash: ``v`` version, ``d`` digest and ``p`` position of its last event, ``s`` state.
It is a cache of the fold, and valid only while the log has that last event. An event that has left
the stream cannot be lost to a failover any more, so the archive is not asked.
"""

import logging
from contextlib import suppress
from functools import partial

import msgspec

from domain.system_events import OF_NO_PHOTO
from store.errors import Unexpected, WrongType
from store.keys import Keys
from store.log import codec
from store.log.position import Position
from store.log.stream import Stream
from store.redis.connection import Client, Wait, translated

logger = logging.getLogger("photolog.log")

_NO_STATE: list[bytes | None] = [None] * 4

_Field = bytes | None
_StateReply = tuple[_Field, _Field, _Field, _Field, _Field, _Field, _Field]


class States(Stream):
    """Streams and the states cached beside them."""

    def __init__(self, redis: Client, keys: Keys, wait: Wait | None = None) -> None:
        super().__init__(redis, keys, wait)
        self._restore = redis.lua("log/restore", if_full=True)  # a revocation may need it
        self._state = redis.lua("log/state")

    async def state_of(
        self, partition: int, key: str, of: str, *, safe: bool = False
    ) -> "list[bytes | None]":
        """Return version, digest, last entry id and state stored under ``key``.

        ``of`` is the photo that it is the state of, or ``OF_NO_PHOTO``. Each value is None if the
        state is gone, if the key holds something else, or if the log has another event at the
        state's position: appending to it would break the chain.
        """
        try:
            with translated():
                reply = await self._state(
                    keys=[self.keys.log(partition), key],
                    send=partial(self.durability.read, partition) if safe else None,
                )
                found = list(msgspec.convert(reply, _StateReply))
        except WrongType:
            return _NO_STATE
        (version, digest, entry_id, _), (photo_id, last, body) = found[:4], found[4:]
        if of == OF_NO_PHOTO and version == b"0":
            return found[:4]
        if body is None and entry_id is not None:
            # Asked for only here, and not by the script: while a slot moves, a call that names a
            # key that does not exist fails.
            with suppress(Unexpected):
                if Position.of_entry(partition, entry_id) <= await self.trimmed(partition):
                    return found[:4]  # the archive has that event
        if photo_id == of.encode() and last == version and digest == _digest(body):
            return found[:4]
        if version is not None:
            logger.warning("the cached state of %s does not match the log", of or "the controls")
        return _NO_STATE

    async def restore(
        self, key: str, *, upto: Position, version: int, digest: str, last: Position, state: bytes
    ) -> bool:
        """Put back a state folded ``upto`` the end of the log; False if the log has moved on.

        ``version``, ``digest`` and ``last`` are those of the last event folded into it.
        """
        with translated():
            reply = await self._restore(
                keys=[self.keys.log(upto.partition), key],
                args=[upto.entry_id, version, digest, last.entry_id, state],
            )
        return reply == 1


def _digest(body: bytes | None) -> bytes:
    return b"" if body is None else codec.digest(body).encode()
