"""Operators set the quotas of single clients."""

from datetime import UTC, datetime

import pytest

from domain.clients.quotas import (
    DEFAULTS,
    MOST_CLIENTS,
    ChangeQuota,
    OwnQuota,
    Quota,
    QuotaChanged,
)
from domain.pipeline.control import Controls, decide, evolve
from domain.rejections import TooManyQuotas

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
SMALL = OwnQuota(photos=5, bytes=0)


def after(*events: QuotaChanged) -> Controls:
    controls = Controls()
    for each in events:
        controls = evolve(controls, each, NOW)
    return controls


def change(client_id: str, quota: OwnQuota) -> ChangeQuota:
    return ChangeQuota(client_id=client_id, quota=quota)


def test_a_clients_own_quota_overrides_the_limits_that_it_sets() -> None:
    defaults = Quota(photos=100, bytes=1_000, jobs=3)

    assert SMALL.over(defaults) == Quota(photos=5, bytes=0, jobs=3)
    assert DEFAULTS.over(defaults) == defaults


def test_a_change_is_one_event_and_repeating_it_is_none() -> None:
    changed = QuotaChanged(client_id="alice", quota=SMALL)

    assert decide(change("alice", SMALL), Controls()) == (changed,)
    assert decide(change("alice", SMALL), after(changed)) == ()
    assert decide(change("alice", DEFAULTS), Controls()) == ()
    assert after(changed).quotas == {"alice": SMALL}


def test_a_client_reset_to_the_defaults_has_no_entry() -> None:
    back = QuotaChanged(client_id="alice", quota=DEFAULTS)

    assert after(QuotaChanged(client_id="alice", quota=SMALL), back) == Controls()


def test_the_number_of_clients_with_their_own_quota_is_limited() -> None:
    full = Controls(quotas={str(number): SMALL for number in range(MOST_CLIENTS)})

    with pytest.raises(TooManyQuotas) as rejected:
        decide(change("one more", SMALL), full)
    assert rejected.value.advice
    assert decide(change("0", OwnQuota(photos=6)), full)
    assert decide(change("0", DEFAULTS), full)
