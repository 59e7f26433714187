from datetime import UTC, datetime, timedelta, timezone

import pytest

from domain.clients.api_keys import ApiKeyCreated
from domain.clients.revocations import (
    CLOCK_LEEWAY,
    LONGEST_LIFE,
    MOST_TOKENS,
    AccessRevoked,
    Revocations,
    RevokeAccess,
    is_superseded,
)
from domain.pipeline.control import Controls, decide, evolve
from domain.rejections import InvalidRevocation, TooManyRevocations

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
AT = "2026-11-23T10:00:00.000Z"
SECOND = timedelta(seconds=1)
EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))


def after(*events: AccessRevoked, at: datetime = NOW) -> Controls:
    controls = Controls()
    for event in events:
        controls = evolve(controls, event, at)
    return controls


def rejects(revocations: Revocations, issued: datetime, client: str = "alice") -> bool:
    return revocations.reason_against("t1", client, issued.timestamp()) is not None


def test_a_token_is_revoked_by_its_id_once() -> None:
    revoke = RevokeAccess(now=NOW, token_id="t1", reason="lost laptop")
    revoked = AccessRevoked(token_id="t1", reason="lost laptop")

    assert decide(revoke, Controls()) == (revoked,)
    assert decide(revoke, after(revoked)) == ()
    assert after(revoked).revocations.reason_against("t1", "alice", NOW.timestamp())
    assert not after(revoked).revocations.reason_against("t2", "alice", NOW.timestamp())
    assert not after(revoked).revocations.reason_against(None, "alice", NOW.timestamp())


def test_the_tokens_of_a_client_are_revoked_up_to_a_moment() -> None:
    (revoked,) = decide(RevokeAccess(now=NOW, client_id="alice", reason="left"), Controls())

    assert revoked == AccessRevoked(client_id="alice", before=AT, reason="left")
    known = after(AccessRevoked(client_id="alice", before=AT)).revocations
    assert rejects(known, NOW)
    assert not rejects(known, NOW + timedelta(milliseconds=1))
    assert not rejects(known, NOW, client="bob")
    assert decide(RevokeAccess(now=NOW, client_id="alice"), Controls(revocations=known)) == ()
    later = RevokeAccess(now=NOW + SECOND, client_id="alice")
    assert len(decide(later, Controls(revocations=known))) == 1


def test_revoking_all_tokens_up_to_a_moment_makes_narrower_revocations_unnecessary() -> None:
    long_before = AccessRevoked(client_id="alice", before="2026-11-23T09:00:00.000Z")
    single = AccessRevoked(token_id="t1")
    (everyone,) = decide(RevokeAccess(now=NOW + SECOND, before=NOW), Controls())

    assert everyone == AccessRevoked(before=AT)
    known = after(long_before, AccessRevoked(before=AT)).revocations
    assert known == Revocations(everyone=NOW)
    assert rejects(known, NOW, client="bob")
    assert not rejects(known, NOW + SECOND)
    # The machine that issued it may be ahead.
    assert after(single, AccessRevoked(before=AT)).revocations.tokens == {"t1": NOW}
    much_later = evolve(
        after(single), AccessRevoked(before="2026-11-23T10:00:06.000Z"), NOW + 6 * SECOND
    )
    assert much_later.revocations.tokens == {}


def test_a_token_from_a_clock_that_is_ahead_needs_a_second_revocation() -> None:
    """It looks like a token issued after the first revocation, which must be accepted."""
    issued = NOW + CLOCK_LEEWAY
    first = after(AccessRevoked(client_id="alice", before=AT))
    assert not rejects(first.revocations, issued)

    again = RevokeAccess(now=NOW + CLOCK_LEEWAY, client_id="alice")
    (event,) = decide(again, first)

    assert isinstance(event, AccessRevoked)
    assert rejects(evolve(first, event, again.now).revocations, issued)


def test_only_revocations_covered_by_a_wider_one_are_superseded() -> None:
    token = AccessRevoked(token_id="t1")
    narrow = AccessRevoked(client_id="alice", before="2026-11-23T09:00:00.000Z")
    later = AccessRevoked(client_id="alice", before=AT)
    other = AccessRevoked(client_id="bob", before="2026-11-23T10:00:05.000Z")
    everyone = AccessRevoked(before=AT)
    widest = AccessRevoked(before="2026-11-23T10:00:06.000Z")

    def superseded(*events: AccessRevoked) -> list[AccessRevoked]:
        known = after(*events).revocations
        return [each for each in events if is_superseded(each, NOW, known)]

    assert superseded(token, narrow, other) == []
    assert superseded(token, narrow, later) == [narrow]
    assert superseded(token, narrow, other, everyone) == [narrow]
    assert superseded(token, narrow, later, other, everyone, widest) == [
        *(token, narrow, later, other, everyone)
    ]


def test_an_older_moment_does_not_weaken_a_revocation() -> None:
    newer = AccessRevoked(client_id="alice", before=AT)
    older = AccessRevoked(client_id="alice", before="2026-11-22T10:00:00.000Z")

    assert after(newer, older) == after(newer)
    earlier = RevokeAccess(now=NOW, client_id="alice", before=NOW - SECOND)
    assert decide(earlier, after(newer)) == ()


def test_revocations_older_than_any_token_are_dropped() -> None:
    everyone = AccessRevoked(before="2026-11-22T10:00:00.000Z")
    alice = AccessRevoked(client_id="alice", before=AT)
    first = after(everyone, AccessRevoked(token_id="t1"), alice)
    end = NOW + LONGEST_LIFE + CLOCK_LEEWAY

    kept = evolve(first, AccessRevoked(token_id="t2"), end - SECOND).revocations
    gone = evolve(first, AccessRevoked(token_id="t2"), end + SECOND).revocations

    assert (set(kept.tokens), set(kept.clients)) == ({"t1", "t2"}, {"alice"})
    assert (set(gone.tokens), set(gone.clients)) == ({"t2"}, set())
    assert (first.revocations.everyone, gone.everyone) == (NOW - timedelta(days=1), None)


def test_a_time_before_the_oldest_valid_token_is_recorded_only_if_it_ends_a_key() -> None:
    created = NOW - 2 * LONGEST_LIFE
    key = ApiKeyCreated(
        key_id="k", name="camera", digest="d", scopes=("photos:read",), client_id="ann"
    )
    with_key = evolve(Controls(), key, created)
    of_all = RevokeAccess(now=NOW, before=created)
    of_other = RevokeAccess(now=NOW, client_id="bob", before=created)
    youngest = RevokeAccess(now=NOW, before=NOW - LONGEST_LIFE - CLOCK_LEEWAY + SECOND)

    (event,) = decide(of_all, with_key)

    assert decide(of_all, Controls()) == decide(of_other, with_key) == ()
    assert decide(youngest, Controls()) != ()
    assert isinstance(event, AccessRevoked)
    ended = evolve(with_key, event, NOW)
    assert (ended.api_keys.active, decide(of_all, ended)) == ({}, ())
    assert not is_superseded(event, NOW, ended.revocations)


def test_a_narrower_revocation_leaves_that_of_everyone() -> None:
    everyone = AccessRevoked(before=AT)

    for narrower in (AccessRevoked(token_id="t1"), AccessRevoked(client_id="a", before=AT)):
        assert after(everyone, narrower).revocations.everyone == NOW


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (RevokeAccess(now=NOW), "must name"),
        (RevokeAccess(now=NOW, token_id="t1", client_id="alice"), "no client"),
        (RevokeAccess(now=NOW, token_id="t1", before=NOW), "no time"),
        (RevokeAccess(now=NOW, before=NOW + 2 * CLOCK_LEEWAY), "in the future"),
        (RevokeAccess(now=NOW, client_id="alice", before=NOW + 2 * CLOCK_LEEWAY), "in the future"),
        # UTC cannot express these.
        (RevokeAccess(now=NOW, before=datetime(1, 1, 1, tzinfo=EAST)), "is before"),
        (RevokeAccess(now=NOW, before=datetime(9999, 12, 31, 23, tzinfo=WEST)), "in the future"),
    ],
)
def test_a_revocation_of_nothing_two_things_or_the_future_is_rejected(
    command: RevokeAccess, why: str
) -> None:
    with pytest.raises(InvalidRevocation) as caught:
        decide(command, Controls())

    assert why in caught.value.message


def test_the_number_of_individual_revocations_is_limited() -> None:
    full = Controls(
        revocations=Revocations(tokens=dict.fromkeys(map(str, range(MOST_TOKENS)), NOW))
    )

    with pytest.raises(TooManyRevocations):
        decide(RevokeAccess(now=NOW, token_id="another"), full)
    everyone = AccessRevoked(before="2026-11-23T10:00:06.000Z")
    assert evolve(full, everyone, NOW + 6 * SECOND).revocations.tokens == {}
