"""Browser sessions, and one-time tickets to sign in or to open a stream.

These secrets represent a client temporarily.

| key | type | what |
|---|---|---|
| ``photolog:{07}:session:<digest>`` | string, expires | the session's ``Grant`` |
| ``photolog:{07}:sessions:<clientId>`` | zset, expires | the client's sessions: ``remember.lua`` |
| ``photolog:{07}:ticket:<digest>``, ``…:tickets:<clientId>`` | the same | for sign-in tickets |
| ``photolog:{07}:stream-ticket:<digest>`` and so on | the same | for tickets of streams |
| ``photolog:{07}:sign-in:<digest>`` and so on | the same | see ``store.clients.sign_ins`` |

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
from typing import Any, Generic, Literal, TypeVar

import msgspec

from store.clients.credential_place import CredentialPlace
from store.clients.provider_sign_in import ProviderSignIn
from store.errors import WrongType
from store.log.log import Log
from store.redis.connection import translated

logger = logging.getLogger("photolog.credentials")

Kind = Literal["session", "ticket", "stream-ticket", "sign-in"]

Value = TypeVar("Value")

SECRET_BYTES = 24
"""192 bits: too many to guess."""

_SECRET = re.compile(r"(\d{1,4})-([\w-]{32})", re.ASCII)

CHUNK = 500
"""How many keys are looked up at once."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The client and rights of a credential. Times are in seconds since 1970.

    ``token_id``, ``key_id``, ``issued`` and the person's ``name`` belong to the token that it was
    obtained with. A ticket of a stream also has the browser's session, or the API key and its
    scopes, that it was obtained with. ``provider`` is the provider that the person signed in with,
    and ``provider_sign_in`` the sign-in.
    """

    client_id: str
    role: str
    scopes: tuple[str, ...] = ()
    token_id: str | None = None
    key_id: str | None = None
    issued: float
    expires: float
    name: str | None = None
    session: CredentialPlace | None = None
    api_key: str | None = None
    granted: tuple[str, ...] | None = None
    provider: str | None = None
    provider_sign_in: ProviderSignIn | None = None


_encoder = msgspec.msgpack.Encoder(order="deterministic")


def held(secret: str, log: Log) -> CredentialPlace | None:
    """Return the place of the credential; None if ``secret`` is malformed."""
    match = _SECRET.fullmatch(secret)
    if match is None or int(match[1]) >= log.partitions:
        return None
    return CredentialPlace(int(match[1]), hashlib.sha256(secret.encode()).hexdigest())


class Secrets(Generic[Value]):
    """Values of the type ``holds`` behind secrets, at most ``most`` per owner.

    Every method raises Unavailable while Redis does not answer.
    """

    def __init__(self, log: Log, kind: Kind, most: int, holds: type[Value]) -> None:
        self._log = log
        self._kind: Kind = kind
        self._most = most
        self._decoder = msgspec.msgpack.Decoder(holds)
        self._remember = log.redis.lua("clients/remember")

    async def remember(self, owner: str, value: Value, lifetime_s: float) -> str:
        """Store the value and return its secret; delete the owner's oldest beyond the limit.

        Raises:
            Full: Redis has no room.
        """
        partition = self._log.partition_of(owner)
        secret = f"{partition}-{secrets.token_urlsafe(SECRET_BYTES)}"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        keys = self._log.keys
        with translated():
            gone = await self._remember(
                keys=[
                    keys.credentials(partition, self._kind, owner),
                    keys.credential(partition, self._kind, digest),
                ],
                args=[_encoder.encode(value), digest, max(1, int(lifetime_s * 1000)), self._most],
            )
            old = [each.decode() for each in msgspec.convert(gone, list[bytes])]
        for each in old:
            await self.delete(CredentialPlace(partition, each))
        return secret

    async def find(self, place: CredentialPlace) -> Value | None:
        """Return the value; None if it is expired, unknown or damaged."""
        return await self._read(place, take=False)

    async def take(self, place: CredentialPlace) -> Value | None:
        """Return the value and remove it: only one of several callers gets it."""
        return await self._read(place, take=True)

    async def delete(self, place: CredentialPlace) -> None:
        """Remove the credential; its entry in the client's index remains until it expires."""
        redis: Any = self._log.redis
        with translated():
            await redis.unlink(self._key(place))

    async def missing(self, places: Iterable[CredentialPlace]) -> set[CredentialPlace]:
        """Return the places whose credentials no longer exist."""
        by_partition: defaultdict[int, list[CredentialPlace]] = defaultdict(list)
        for place in places:
            by_partition[place.partition].append(place)
        found: set[CredentialPlace] = set()
        for group in by_partition.values():
            for start in range(0, len(group), CHUNK):
                part = group[start : start + CHUNK]
                with translated():
                    replies = await self._log.redis.in_a_row(
                        *(("EXISTS", self._key(place)) for place in part)
                    )
                found |= {each for each, reply in zip(part, replies, strict=True) if reply == 0}
        return found

    async def _read(self, place: CredentialPlace, *, take: bool) -> Value | None:
        redis: Any = self._log.redis
        key = self._key(place)
        try:
            with translated():
                reply = await redis.getdel(key) if take else await redis.get(key)
                return self._value(msgspec.convert(reply, bytes | None))
        except WrongType as error:
            logger.warning("a %s is damaged: %s", self._kind, error)
            return None

    def _value(self, stored: bytes | None) -> Value | None:
        if stored is None:
            return None
        try:
            return self._decoder.decode(stored)
        except msgspec.MsgspecError as error:
            logger.warning("a %s is damaged: %s", self._kind, error)
            return None

    def _key(self, place: CredentialPlace) -> str:
        return self._log.keys.credential(place.partition, self._kind, place.digest)


class Credentials(Secrets[Grant]):
    """The sessions or tickets of one log, at most ``most`` per client."""

    def __init__(self, log: Log, kind: Kind, most: int) -> None:
        super().__init__(log, kind, most, Grant)

    async def create(self, grant: Grant, lifetime_s: float) -> str:
        """Create a credential of the grant's client; see ``remember``."""
        return await self.remember(grant.client_id, grant, lifetime_s)
