"""Revocations that a wider one already covers, and the limits of narrow ones."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.clients.revocations import (
    CLOCK_LEEWAY,
    MOST_TOKENS,
    AccessRevoked,
    Revocations,
    RevokeAccess,
    after_revocation,
    revoke,
)
from domain.rejections import InvalidRevocation, TooManyRevocations

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)
EVERYONE = Revocations(everyone=NOW)


def test_a_client_needs_no_revocation_up_to_a_moment_that_covers_everyone() -> None:
    assert revoke(RevokeAccess(now=NOW, client_id="alice"), EVERYONE) == ()
    earlier = RevokeAccess(now=NOW + SECOND, client_id="alice", before=NOW - SECOND)
    assert revoke(earlier, EVERYONE) == ()
    assert revoke(RevokeAccess(now=NOW, before=NOW), EVERYONE) == ()
    assert len(revoke(RevokeAccess(now=NOW + SECOND, client_id="alice"), EVERYONE)) == 1


def test_a_moment_ahead_by_no_more_than_clocks_differ_counts_as_now() -> None:
    (event,) = revoke(RevokeAccess(now=NOW, before=NOW + CLOCK_LEEWAY), Revocations())

    assert event == AccessRevoked(before="2026-11-23T10:00:00.000Z")
    beyond = RevokeAccess(now=NOW, before=NOW + CLOCK_LEEWAY + timedelta(milliseconds=1))
    with pytest.raises(InvalidRevocation):
        revoke(beyond, Revocations())


def test_the_earliest_moment_is_the_beginning_of_1970() -> None:
    first = datetime(1970, 1, 1, tzinfo=UTC)

    assert revoke(RevokeAccess(now=NOW, before=first), Revocations()) == (
        AccessRevoked(before="1970-01-01T00:00:00.000Z"),
    )
    with pytest.raises(InvalidRevocation, match="1970"):
        revoke(RevokeAccess(now=NOW, before=first - SECOND), Revocations())


def test_the_number_of_clients_with_their_own_revocation_is_limited() -> None:
    full = Revocations(clients=dict.fromkeys(map(str, range(MOST_TOKENS)), NOW))
    later = NOW + SECOND

    with pytest.raises(TooManyRevocations, match="clients") as rejected:
        revoke(RevokeAccess(now=later, client_id="another"), full)
    assert rejected.value.advice
    assert revoke(RevokeAccess(now=later, client_id="0"), full)
    assert revoke(RevokeAccess(now=later, token_id="t1"), full)


def test_a_revocation_says_why_a_token_is_rejected() -> None:
    known = Revocations(tokens={"t1": NOW}, clients={"alice": NOW}, everyone=NOW - SECOND)
    issued = NOW.timestamp()

    assert known.reason_against("t1", "bob", issued) == "This token has been revoked."
    assert known.reason_against("t2", "alice", issued) == (
        "All tokens of alice issued up to 2026-11-23T10:00:00.000Z have been revoked."
    )
    assert known.reason_against("t2", "bob", issued - 1) == (
        "All tokens issued up to 2026-11-23T09:59:59.000Z have been revoked."
    )
    assert known.reason_against("t2", "bob", issued) is None


def test_an_event_without_a_moment_revokes_what_was_issued_until_it_happened() -> None:
    client = after_revocation(Revocations(), AccessRevoked(client_id="alice"), NOW)
    everyone = after_revocation(Revocations(), AccessRevoked(), NOW)

    assert client == Revocations(clients={"alice": NOW})
    assert everyone == Revocations(everyone=NOW)
