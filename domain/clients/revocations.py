"""Which tokens no longer count: the revocations, and the rules for them.

A revocation names one token, all tokens of a client, or all tokens of everyone. The last two apply
to tokens issued up to a moment, so that new ones can be issued afterwards. A revocation is never
taken back.
"""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec

from domain.pipeline.control_events import SystemData
from domain.rejections import InvalidRevocation, TooManyRevocations

LONGEST_LIFE = timedelta(days=366)
"""No setting lets a token live longer, so a revocation older than this revokes nothing any more."""

CLOCK_LEEWAY = timedelta(seconds=5)
"""How far the clocks of two machines may be apart."""

OLDEST_YEAR = 1970
"""The first of the times that a token can tell (RFC 7519, section 2, NumericDate)."""

MOST_TOKENS = 1_000
"""Tokens that are revoked one by one, and clients that are revoked, at a time."""


class AccessRevoked(SystemData, frozen=True, kw_only=True):
    """Tokens were revoked: the one of ``token_id``, or those issued up to ``before``.

    With ``client_id`` only the tokens of that client; with neither id those of everyone.
    """

    TYPE: ClassVar[str] = "access.revoked"

    token_id: str | None = None
    client_id: str | None = None
    before: str | None = None
    reason: str = ""


class RevokeAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Revoke one token, or those issued up to ``before``, by default ``now``."""

    now: datetime
    token_id: str | None = None
    client_id: str | None = None
    before: datetime | None = None
    reason: str = ""


class Revocations(msgspec.Struct, frozen=True, kw_only=True):
    """The revocations in force.

    ``tokens`` has the moment of revocation by token id; ``clients`` by client id, and ``everyone``,
    have the moment up to which tokens had to be issued to be revoked.
    """

    tokens: dict[str, datetime] = {}
    clients: dict[str, datetime] = {}
    everyone: datetime | None = None

    def reason_against(self, token_id: str | None, client_id: str, issued: float) -> str | None:
        """Return why a token ``issued`` at that time, in seconds since 1970, does not count.

        None if it is not revoked.
        """
        if token_id is not None and token_id in self.tokens:
            return "This token has been revoked."
        client = self.clients.get(client_id)
        if client is not None and issued <= client.timestamp():
            return f"All tokens of {client_id} issued up to {_shown(client)} have been revoked."
        if self.everyone is not None and issued <= self.everyone.timestamp():
            return f"All tokens issued up to {_shown(self.everyone)} have been revoked."
        return None


def revoke(command: RevokeAccess, revocations: Revocations) -> tuple[AccessRevoked, ...]:
    """Return the events that ``command`` leads to; the empty tuple means "already so".

    Raises:
        InvalidRevocation: the command names a token and more, or a time to come.
        TooManyRevocations: there is no room for another one.
    """
    token_id, client_id = command.token_id, command.client_id
    if token_id is not None:
        if client_id is not None or command.before is not None:
            raise InvalidRevocation("A token is revoked by its id alone.")
        if token_id in revocations.tokens:
            return ()
        _check_room(revocations.tokens, "tokens")
        return (AccessRevoked(token_id=token_id, reason=command.reason),)
    if client_id is None and command.before is None:
        raise InvalidRevocation("The revocation names no token, no client and no time.")
    if command.before is not None and command.before.year < OLDEST_YEAR:
        raise InvalidRevocation(f"No token is older than the year {OLDEST_YEAR}.")
    if command.before is not None and command.before > command.now + CLOCK_LEEWAY:
        # As it was given: UTC cannot tell each time of other zones.
        raise InvalidRevocation(f"{command.before.isoformat()} is in the future.")
    before = datetime.fromisoformat(_shown(min(command.before or command.now, command.now)))
    if _covered(before, revocations.everyone):
        return ()
    if client_id is not None:
        if _covered(before, revocations.clients.get(client_id)):
            return ()
        if client_id not in revocations.clients:
            _check_room(revocations.clients, "clients")
    return (AccessRevoked(client_id=client_id, before=_shown(before), reason=command.reason),)


def after_revocation(revocations: Revocations, event: AccessRevoked, at: datetime) -> Revocations:
    """Return the revocations after ``event``, which happened ``at``, without those of no effect."""
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
        # A token revoked by its id may have been issued by a machine whose clock is ahead.
        tokens={name: moment for name, moment in tokens.items() if moment > covered},
        clients={
            name: moment
            for name, moment in clients.items()
            if moment > forgotten and not _covered(moment, everyone)
        },
        everyone=everyone if everyone is not None and everyone > forgotten else None,
    )


def is_superseded(event: AccessRevoked, at: datetime, revocations: Revocations) -> bool:
    """Return whether a wider revocation refuses all that ``event``, which happened ``at``, refuses.

    ``revocations`` are those in force now. ``event`` is not older than ``LONGEST_LIFE``.
    """
    if event.token_id is not None:
        return event.token_id not in revocations.tokens
    if event.client_id is not None:
        return revocations.clients.get(event.client_id) != _moment(event, at)
    return revocations.everyone != _moment(event, at)


def _moment(event: AccessRevoked, at: datetime) -> datetime:
    """Up to when tokens had to be issued to be revoked."""
    return datetime.fromisoformat(event.before) if event.before is not None else at


def _covered(before: datetime, already: datetime | None) -> bool:
    return already is not None and before <= already


def _check_room(kept: dict[str, datetime], what: str) -> None:
    if len(kept) >= MOST_TOKENS:
        raise TooManyRevocations(
            f"{MOST_TOKENS} {what} are revoked one by one already.",
            advice="Revoke all tokens issued before a time instead.",
        )


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
