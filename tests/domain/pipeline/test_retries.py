import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.pipeline.failures import Category
from domain.pipeline.retries import STRATEGIES, Backoff, Strategy, delay_s, escalates, strategy_of

PLAIN = Strategy(retryable=True, attempts=100, base_s=5, cap_s=60, jitter=False)


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        ("fixed", [5, 5, 5, 5, 5]),
        ("linear", [5, 10, 15, 20, 25]),
        ("exponential", [5, 10, 20, 40, 60]),
    ],
)
def test_a_delay_grows_by_its_backoff_up_to_the_cap(backoff: Backoff, delays: list[float]) -> None:
    strategy = msgspec.structs.replace(PLAIN, backoff=backoff)

    assert [delay_s(strategy, attempt, 0.5) for attempt in range(1, 6)] == delays


def test_the_last_attempt_is_not_followed_by_another() -> None:
    strategy = msgspec.structs.replace(PLAIN, attempts=3)

    assert delay_s(strategy, 2, 0) is not None
    assert delay_s(strategy, 3, 0) is None


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_full_jitter_is_between_zero_and_the_delay_without_it(attempt: int, chance: float) -> None:
    plain = msgspec.structs.replace(PLAIN, attempts=1_000_000)
    whole = delay_s(plain, attempt, 0)
    drawn = delay_s(msgspec.structs.replace(plain, jitter=True), attempt, chance)

    assert whole is not None
    assert drawn == whole * chance


@pytest.mark.parametrize("category", Category)
def test_only_transient_failures_are_retried(category: Category) -> None:
    transient = {Category.TEMPORARY, Category.RESOURCE}

    assert (delay_s(STRATEGIES[category], 1, 0.5) is not None) == (category in transient)


def test_a_failure_escalates_from_its_threshold_on_unless_alerts_are_off() -> None:
    strategy = Strategy(escalation_threshold=2, alert_level="error")

    assert [escalates(strategy, attempt) for attempt in (1, 2, 3)] == [False, True, True]
    assert not escalates(msgspec.structs.replace(strategy, alert_level="none"), 3)


def test_a_timeout_is_retried_once_and_a_lack_of_memory_twice() -> None:
    timeout = strategy_of(STRATEGIES, Category.RESOURCE, "decode-timeout")
    memory = strategy_of(STRATEGIES, Category.RESOURCE, "out-of-memory")

    assert [delay_s(timeout, attempt, 0.5) is not None for attempt in (1, 2)] == [True, False]
    assert [delay_s(memory, attempt, 0.5) is not None for attempt in (1, 2)] == [True, True]
