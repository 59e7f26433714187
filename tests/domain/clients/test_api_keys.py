"""API keys as rules: what ends them, and what is remembered."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.clients.api_keys import (
    MOST_KEYS,
    ApiKeyCreated,
    ApiKeys,
    CreateApiKey,
    RevokeApiKey,
    after_revocation,
    decide,
    evolve,
)
from domain.clients.revocations import AccessRevoked
from domain.moments import iso
from domain.rejections import KeyNotFound, TooManyKeys

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def create(key_id: str = "a", **more: Any) -> CreateApiKey:
    wish: dict[str, Any] = {"now": NOON, "name": "backup", "digest": "d" * 64, **more}
    scopes = frozenset({"photos.read"} if wish.get("client_id") else {"ops.read"})
    return CreateApiKey(key_id=key_id, scopes=scopes, **wish)


def given(*commands: CreateApiKey | RevokeApiKey, at: datetime = NOON) -> ApiKeys:
    keys = ApiKeys()
    for command in commands:
        for event in decide(command, keys):
            keys = evolve(keys, event, at)
    return keys


def test_creating_the_same_key_twice_records_nothing() -> None:
    assert decide(create(), given(create())) == ()


def test_a_revoked_key_is_remembered_and_revoking_it_again_records_nothing() -> None:
    keys = given(create(), RevokeApiKey(key_id="a"))

    assert (keys.active, keys.ended) == ({}, {"a": NOON})
    assert decide(RevokeApiKey(key_id="a"), keys) == ()
    with pytest.raises(KeyNotFound):
        decide(RevokeApiKey(key_id="b"), keys)


def test_expired_keys_make_room_for_new_ones() -> None:
    expiring = [
        create(str(number), expires_at=NOON + SECOND, digest="e" * 64)
        for number in range(MOST_KEYS)
    ]
    keys = given(*expiring)
    with pytest.raises(TooManyKeys):
        decide(create(), keys)

    (event,) = decide(create(now=NOON + SECOND), keys)
    later = evolve(keys, event, NOON + SECOND)

    assert isinstance(event, ApiKeyCreated)
    assert list(later.active) == ["a"]
    assert len(later.ended) == MOST_KEYS


@pytest.mark.parametrize(
    ("event", "left"),
    [
        (AccessRevoked(client_id="alice", before=iso(NOON)), {"bob", "system"}),
        (AccessRevoked(client_id="alice", before=iso(NOON - SECOND)), {"alice", "bob", "system"}),
        (AccessRevoked(before=iso(NOON)), set[str]()),
        (AccessRevoked(before=iso(NOON - SECOND)), {"alice", "bob", "system"}),
        (AccessRevoked(token_id="alice"), {"alice", "bob", "system"}),
        (AccessRevoked(token_id="key-alice"), {"bob", "system"}),
    ],
)
def test_a_revocation_ends_the_keys_that_it_covers(event: AccessRevoked, left: set[str]) -> None:
    keys = given(
        create("alice", client_id="alice"), create("bob", client_id="bob"), create("system")
    )

    after = after_revocation(keys, event, NOON + SECOND)

    assert set(after.active) == left
    assert set(after.ended) == {"alice", "bob", "system"} - left
