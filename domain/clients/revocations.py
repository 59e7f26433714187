"""Revocation of tokens: commands, events, state and rules.

A revocation covers one token, all tokens of one client, or all tokens. The last two apply to tokens
issued up to a given moment, so that new tokens can be issued afterwards. A revocation is permanent.
"""

from datetime import datetime, timedelta
from typing import ClassVar

import msgspec

from domain.moments import iso
from domain.rejections import InvalidRevocation, TooManyRevocations
from domain.system_events import SystemData

LONGEST_LIFE = timedelta(days=366)
"""The longest that any setting lets a token live; an older revocation has no effect any more."""

CLOCK_LEEWAY = timedelta(seconds=5)
"""The most by which the clocks of two machines may differ."""

OLDEST_YEAR = 1970
"""The earliest year that a token can express (RFC 7519, section 2, NumericDate)."""

MOST_TOKENS = 1_000
"""The most individually revoked tokens, and the most revoked clients, in force at a time."""


class AccessRevoked(SystemData, frozen=True, kw_only=True):
    """Tokens were revoked: the one with ``token_id``, or those issued up to ``before``.

    With ``client_id`` only the tokens of that client are revoked; with neither id all tokens are.
    """

    TYPE: ClassVar[str] = "access.revoked"

    token_id: str | None = None
    client_id: str | None = None
    before: str | None = None
    reason: str = ""


class RevokeAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Revoke one token, or those issued up to ``before``, which defaults to ``now``."""

    now: datetime
    token_id: str | None = None
    client_id: str | None = None
    before: datetime | None = None
    reason: str = ""


class Revocations(msgspec.Struct, frozen=True, kw_only=True):
    """The revocations in force.

    ``tokens`` maps token ids to the moment of revocation. ``clients``, by client id, and
    ``everyone`` hold the moment up to which issued tokens are revoked.
    """

    tokens: dict[str, datetime] = {}
    clients: dict[str, datetime] = {}
    everyone: datetime | None = None

    def reason_against(self, token_id: str | None, client_id: str, issued: float) -> str | None:
        """Return why a token ``issued`` at that time, in seconds since 1970, is revoked.

        Return None if it is not revoked.
        """
        if token_id is not None and token_id in self.tokens:
            return "This token has been revoked."
        client = self.clients.get(client_id)
        if client is not None and issued <= client.timestamp():
            return f"All tokens of {client_id} issued up to {iso(client)} have been revoked."
        if self.everyone is not None and issued <= self.everyone.timestamp():
            return f"All tokens issued up to {iso(self.everyone)} have been revoked."
        return None


def revoke(command: RevokeAccess, revocations: Revocations) -> tuple[AccessRevoked, ...]:
    """Return the events that ``command`` leads to; the empty tuple means "already so".

    Raises:
        InvalidRevocation: the command names nothing, more than a token id, or a time that is in the
            future or before ``OLDEST_YEAR``.
        TooManyRevocations: ``MOST_TOKENS`` are in force.
    """
    token_id, client_id = command.token_id, command.client_id
    if token_id is not None:
        if client_id is not None or command.before is not None:
            raise InvalidRevocation("A revocation by token id takes no client and no time.")
        if token_id in revocations.tokens:
            return ()
        _check_count(revocations.tokens, "tokens")
        return (AccessRevoked(token_id=token_id, reason=command.reason),)
    if client_id is None and command.before is None:
        raise InvalidRevocation("A revocation must name a token, a client or a time.")
    if command.before is not None and command.before.year < OLDEST_YEAR:
        raise InvalidRevocation(
            f"{command.before.isoformat()} is before {OLDEST_YEAR}, the earliest year."
        )
    if command.before is not None and command.before > command.now + CLOCK_LEEWAY:
        # Shown as given: some times of other zones cannot be expressed in UTC.
        raise InvalidRevocation(f"{command.before.isoformat()} is in the future.")
    before = datetime.fromisoformat(iso(min(command.before or command.now, command.now)))
    if _covered(before, revocations.everyone):
        return ()
    if client_id is not None:
        if _covered(before, revocations.clients.get(client_id)):
            return ()
        if client_id not in revocations.clients:
            _check_count(revocations.clients, "clients")
    return (AccessRevoked(client_id=client_id, before=iso(before), reason=command.reason),)


def is_outlived(before: datetime, now: datetime) -> bool:
    """Return whether no token issued up to ``before`` can be valid any more."""
    return before <= now - LONGEST_LIFE - CLOCK_LEEWAY


def after_revocation(revocations: Revocations, event: AccessRevoked, at: datetime) -> Revocations:
    """Return the revocations after ``event``, which happened ``at``; drop those without effect."""
    tokens, clients = dict(revocations.tokens), dict(revocations.clients)
    everyone = revocations.everyone
    before = _moment(event, at)
    if event.token_id is not None:
        tokens[event.token_id] = at
    elif event.client_id is not None:
        clients[event.client_id] = max(before, clients.get(event.client_id, before))
    else:
        everyone = max(before, everyone or before)
    forgotten = at - LONGEST_LIFE - CLOCK_LEEWAY
    covered = max(everyone - CLOCK_LEEWAY, forgotten) if everyone is not None else forgotten
    return Revocations(
        # A token revoked by its id may come from a machine whose clock is ahead.
        tokens={name: moment for name, moment in tokens.items() if moment > covered},
        clients={
            name: moment
            for name, moment in clients.items()
            if moment > forgotten and not _covered(moment, everyone)
        },
        everyone=everyone if everyone is not None and everyone > forgotten else None,
    )


def is_superseded(event: AccessRevoked, at: datetime, revocations: Revocations) -> bool:
    """Return whether a wider revocation covers all that ``event``, which happened ``at``, covers.

    ``revocations`` are those in force now. ``event`` must not be older than ``LONGEST_LIFE``.
    """
    if event.token_id is not None:
        return event.token_id not in revocations.tokens
    before, everyone = _moment(event, at), revocations.everyone
    if event.client_id is None:
        return everyone is not None and before < everyone
    of_client = revocations.clients.get(event.client_id)
    return _covered(before, everyone) or (of_client is not None and before < of_client)


def _moment(event: AccessRevoked, at: datetime) -> datetime:
    """Return the moment up to which issued tokens are revoked."""
    return datetime.fromisoformat(event.before) if event.before is not None else at


def _covered(before: datetime, already: datetime | None) -> bool:
    return already is not None and before <= already


def _check_count(kept: dict[str, datetime], what: str) -> None:
    if len(kept) >= MOST_TOKENS:
        raise TooManyRevocations(
            f"{MOST_TOKENS:,} {what} are already revoked individually, which is the maximum.",
            advice="Revoke all tokens issued before a time instead.",
        )
