"""Browser sessions and one-time sign-in tickets: secrets that represent a client temporarily.

| key | type | what |
|---|---|---|
| ``photolog:{07}:session:<digest>`` | string, expires | the session's ``Grant`` |
| ``photolog:{07}:sessions:<clientId>`` | zset, expires | the client's sessions: ``remember.lua`` |
| ``photolog:{07}:ticket:<digest>``, ``…:tickets:<clientId>`` | the same | for tickets |

A secret is the number of its client's partition, followed by random text. Redis has only its
SHA-256, so nobody can sign in with what Redis holds. Credentials are not facts and not in the log:
if Redis loses them, people sign in again.
"""

import hashlib
import logging
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from store.clients.held import Held
from store.errors import WrongType
from store.log.log import Log
from store.redis.connection import translated

logger = logging.getLogger("photolog.credentials")

Kind = Literal["session", "ticket"]

SECRET_BYTES = 24
"""192 bits: too many to guess."""

_SECRET = re.compile(r"(\d{1,4})-([\w-]{32})", re.ASCII)

CHUNK = 500
"""How many keys are looked up at once."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The client and rights of a credential. Times are in seconds since 1970.

    ``token_id``, ``key_id`` and ``issued`` belong to the token that it was obtained with.
    """

    client_id: str
    role: str
    scopes: tuple[str, ...] = ()
    token_id: str | None = None
    key_id: str | None = None
    issued: float
    expires: float


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Grant)


def held(secret: str, log: Log) -> Held | None:
    """Return the place of the credential; None if ``secret`` is malformed."""
    match = _SECRET.fullmatch(secret)
    if match is None or int(match[1]) >= log.partitions:
        return None
    return Held(int(match[1]), hashlib.sha256(secret.encode()).hexdigest())


class Credentials:
    """The sessions or tickets of one log, at most ``most`` per client.

    Every method raises Unavailable while Redis does not answer.
    """

    def __init__(self, log: Log, kind: Kind, most: int) -> None:
        self._log = log
        self._kind: Kind = kind
        self._most = most
        self._remember = log.redis.lua("clients/remember")

    async def create(self, grant: Grant, lifetime_s: float) -> str:
        """Create a credential and return its secret; delete the oldest ones beyond the limit.

        Raises:
            Full: Redis has no room.
        """
        partition = self._log.partition_of(grant.client_id)
        secret = f"{partition}-{secrets.token_urlsafe(SECRET_BYTES)}"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        keys = self._log.keys
        with translated():
            gone = await self._remember(
                keys=[
                    keys.credentials(partition, self._kind, grant.client_id),
                    keys.credential(partition, self._kind, digest),
                ],
                args=[_encoder.encode(grant), digest, max(1, int(lifetime_s * 1000)), self._most],
            )
            old = [each.decode() for each in msgspec.convert(gone, list[bytes])]
        for each in old:
            await self.delete(Held(partition, each))
        return secret

    async def find(self, place: Held) -> Grant | None:
        """Return what the credential grants; None if it is expired, unknown or damaged."""
        return await self._read(place, take=False)

    async def take(self, place: Held) -> Grant | None:
        """Return what the credential grants and remove it: only one of several callers gets it."""
        return await self._read(place, take=True)

    async def delete(self, place: Held) -> None:
        """Remove the credential; its entry in the client's index remains until it expires."""
        redis: Any = self._log.redis
        with translated():
            await redis.unlink(self._key(place))

    async def missing(self, places: Iterable[Held]) -> set[Held]:
        """Return the places whose credentials no longer exist."""
        by_partition: defaultdict[int, list[Held]] = defaultdict(list)
        for place in places:
            by_partition[place.partition].append(place)
        found: set[Held] = set()
        for group in by_partition.values():
            for start in range(0, len(group), CHUNK):
                part = group[start : start + CHUNK]
                with translated():
                    replies = await self._log.redis.in_a_row(
                        *(("EXISTS", self._key(place)) for place in part)
                    )
                found |= {each for each, reply in zip(part, replies, strict=True) if reply == 0}
        return found

    async def _read(self, place: Held, *, take: bool) -> Grant | None:
        redis: Any = self._log.redis
        key = self._key(place)
        try:
            with translated():
                reply = await redis.getdel(key) if take else await redis.get(key)
                return _grant(msgspec.convert(reply, bytes | None))
        except WrongType as error:
            logger.warning("a %s is damaged: %s", self._kind, error)
            return None

    def _key(self, place: Held) -> str:
        return self._log.keys.credential(place.partition, self._kind, place.digest)


def _grant(value: bytes | None) -> Grant | None:
    if value is None:
        return None
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        logger.warning("a session or ticket is damaged: %s", error)
        return None
