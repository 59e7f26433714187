"""API keys: commands, events, state and rules.

A key lets a program act for one client, or see and control the system, within its scopes. The log
has the SHA-256 of the key alone. A key ends when it expires, when it is revoked, or when all access
of its client or of everyone, given up to a time, is revoked.
"""

from datetime import datetime, timedelta
from typing import ClassVar

import msgspec

from domain.clients.revocations import AccessRevoked
from domain.moments import iso
from domain.rejections import InvalidKey, KeyNotFound, TooManyKeys
from domain.system_events import SystemData

CLIENT_SCOPES = frozenset({"photos.read", "photos.write", "events.read", "priority:high"})
"""The scopes of keys that act for a client."""

SYSTEM_SCOPES = frozenset({"events.read", "ops.read", "ops.write", "audit.read"})
"""The scopes of keys without a client; ``events.read`` covers the rooms of all clients."""

MOST_KEYS = 1_000
"""The most keys at a time: all are part of one state that every process reads."""

NAME_MAX = 100

LONGEST_LIFE = timedelta(days=3_653)
"""How far ahead the expiry of a key may be."""


class ApiKeyCreated(SystemData, frozen=True, kw_only=True, omit_defaults=True):
    """A key was created. ``digest`` is the SHA-256 of the key, in hex.

    Without ``client_id`` the key acts for the system, without ``expires_at`` it does not expire.
    """

    TYPE: ClassVar[str] = "access.key.created"

    key_id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    client_id: str | None = None
    expires_at: str | None = None


class ApiKeyRevoked(SystemData, frozen=True, kw_only=True, omit_defaults=True):
    """A key was revoked; ``client_id`` and ``name`` are those of the key."""

    TYPE: ClassVar[str] = "access.key.revoked"

    key_id: str
    name: str
    client_id: str | None = None
    reason: str = ""


ApiKeyEvent = ApiKeyCreated | ApiKeyRevoked


class CreateApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """Create a key. The caller has made its id and secret."""

    now: datetime
    key_id: str
    name: str
    digest: str
    scopes: frozenset[str]
    client_id: str | None = None
    expires_at: datetime | None = None


class RevokeApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """Revoke a key for good."""

    key_id: str
    reason: str = ""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key in force; ``digest`` is the SHA-256 of the key, in hex."""

    name: str
    digest: str
    scopes: tuple[str, ...]
    created_at: datetime
    client_id: str | None = None
    expires_at: datetime | None = None

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class ApiKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys in force, by id, and the last ``MOST_KEYS`` that have ended, with their time.

    Expired keys stay in force here until a key is created; whoever uses a key checks its time.
    """

    active: dict[str, ApiKey] = {}
    ended: dict[str, datetime] = {}

    def all_ended(self, now: datetime) -> dict[str, datetime]:
        """Return the keys that have ended, and those in ``active`` that have expired."""
        expired = {
            name: key.expires_at
            for name, key in self.active.items()
            if key.expires_at is not None and key.is_expired(now)
        }
        return {**self.ended, **expired}


def token_id_of(key_id: str) -> str:
    """Return the name of a key where tokens are named by their ids."""
    return f"key-{key_id}"


def decide(command: CreateApiKey | RevokeApiKey, keys: ApiKeys) -> tuple[ApiKeyEvent, ...]:
    """Return the events that ``command`` leads to; the empty tuple means "already so".

    Raises:
        InvalidKey: the name is empty, too long or not printable; there are no scopes, or some that
            do not go with the presence or absence of a client; or the expiry is in the past
            or too far ahead.
        TooManyKeys: ``MOST_KEYS`` are in force.
        KeyNotFound: there is no such key to revoke.
    """
    match command:
        case CreateApiKey():
            return _create(command, keys)
        case RevokeApiKey():
            return _revoke(command, keys)


def _create(command: CreateApiKey, keys: ApiKeys) -> tuple[ApiKeyCreated, ...]:
    present = keys.active.get(command.key_id)
    if present is not None and present.digest == command.digest:
        return ()
    _check(command)
    if sum(not key.is_expired(command.now) for key in keys.active.values()) >= MOST_KEYS:
        raise TooManyKeys(
            f"There are already {MOST_KEYS:,} API keys, which is the maximum.",
            advice="Revoke keys that are no longer used.",
        )
    return (
        ApiKeyCreated(
            key_id=command.key_id,
            name=command.name,
            digest=command.digest,
            scopes=tuple(sorted(command.scopes)),
            client_id=command.client_id,
            expires_at=command.expires_at and iso(command.expires_at),
        ),
    )


def _revoke(command: RevokeApiKey, keys: ApiKeys) -> tuple[ApiKeyRevoked, ...]:
    if command.key_id in keys.ended:
        return ()
    key = keys.active.get(command.key_id)
    if key is None:
        raise KeyNotFound(
            f"There is no API key {command.key_id[:40]!r}.", advice="List the keys to find its id."
        )
    return (
        ApiKeyRevoked(
            key_id=command.key_id, name=key.name, client_id=key.client_id, reason=command.reason
        ),
    )


def evolve(keys: ApiKeys, event: ApiKeyEvent, at: datetime) -> ApiKeys:
    """Return the keys after ``event``, which happened ``at``."""
    match event:
        case ApiKeyCreated():
            expires_at = event.expires_at and datetime.fromisoformat(event.expires_at)
            key = ApiKey(
                name=event.name,
                digest=event.digest,
                scopes=event.scopes,
                created_at=at,
                client_id=event.client_id,
                expires_at=expires_at or None,
            )
            expired = {name for name, each in keys.active.items() if each.is_expired(at)}
            return _with({**keys.active, event.key_id: key}, keys.ended, expired, at)
        case ApiKeyRevoked():
            return _with(keys.active, keys.ended, {event.key_id}, at)


def after_revocation(keys: ApiKeys, event: AccessRevoked, at: datetime) -> ApiKeys:
    """Return the keys after a revocation: it ends those of its client, created up to its time.

    A revocation of everyone ends all keys created up to its time. A revocation of a token ends the
    key that logs name by this token id.
    """
    before = datetime.fromisoformat(event.before) if event.before is not None else at
    if event.token_id is not None:
        ended = {name for name in keys.active if token_id_of(name) == event.token_id}
    else:
        ended = {
            name
            for name, key in keys.active.items()
            if key.created_at <= before and event.client_id in (None, key.client_id)
        }
    return _with(keys.active, keys.ended, ended, at) if ended else keys


def _with(
    active: dict[str, ApiKey], ended: dict[str, datetime], ending: set[str], at: datetime
) -> ApiKeys:
    remembered = {**ended, **dict.fromkeys(ending & active.keys(), at)}
    return ApiKeys(
        active={name: key for name, key in active.items() if name not in ending},
        ended=dict(sorted(remembered.items(), key=lambda item: item[1])[-MOST_KEYS:]),
    )


def _check(command: CreateApiKey) -> None:
    name = command.name
    if not 1 <= len(name) <= NAME_MAX or not name.isprintable() or name.strip() != name:
        raise InvalidKey(
            f"The name of a key must have 1 to {NAME_MAX} printable characters, without spaces at "
            "its ends.",
            advice="Name the program that will use the key.",
        )
    allowed = SYSTEM_SCOPES if command.client_id is None else CLIENT_SCOPES
    holder = "without a client" if command.client_id is None else "of a client"
    if wrong := sorted(command.scopes - allowed):
        raise InvalidKey(
            f"A key {holder} cannot have the scope {wrong[0][:40]!r}.",
            advice=f"Use {', '.join(sorted(allowed))}.",
        )
    if not command.scopes:
        raise InvalidKey("A key needs a scope.", advice=f"Use {', '.join(sorted(allowed))}.")
    if command.expires_at is not None and command.expires_at > command.now + LONGEST_LIFE:
        # Shown as given: some times of other zones cannot be expressed in UTC.
        raise InvalidKey(
            f"{command.expires_at.isoformat()} is more than ten years ahead.",
            advice="Choose an earlier time, or leave it out.",
        )
    if command.expires_at is not None and command.expires_at <= command.now:
        raise InvalidKey(
            f"{command.expires_at.isoformat()} is in the past.",
            advice="Choose a time in the future, or leave it out.",
        )
