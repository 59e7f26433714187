import asyncio
import math
from contextlib import AbstractContextManager

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from store.breaker import Breaker
from store.errors import CircuitOpen, Missing, Unavailable
from tests.clocks import Clock

OPEN_S = 16.0
FIRST_S = 1.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("it", failures=3, open_s=OPEN_S, clock=clock)


def call(breaker: Breaker) -> AbstractContextManager[None]:
    return breaker.call((Unavailable,), unrelated=(ValueError,))


def end(breaker: Breaker, *errors: Exception) -> None:
    """Make one call after another, each ending with its error."""
    for error in errors:
        with pytest.raises(type(error)), call(breaker):
            raise error


def trip(breaker: Breaker) -> None:
    end(breaker, *[Unavailable()] * 3)


def test_failures_in_a_row_open_it_and_calls_are_rejected(breaker: Breaker) -> None:
    end(breaker, Unavailable(), Unavailable())
    assert breaker.state == "closed"

    end(breaker, Unavailable())

    assert (breaker.state, breaker.openings) == ("open", 1)
    with pytest.raises(CircuitOpen) as refused, call(breaker):
        pytest.fail("it passed")
    assert refused.value.retry_after_s == breaker.retry_after_s == FIRST_S


def test_one_success_in_between_keeps_it_closed(breaker: Breaker) -> None:
    end(breaker, Unavailable(), Unavailable())
    with call(breaker):
        pass
    end(breaker, Unavailable(), Unavailable())

    assert breaker.state == "closed"


def test_an_error_reply_counts_as_a_success(breaker: Breaker) -> None:
    end(breaker, Unavailable(), Unavailable(), Missing(), Unavailable(), Unavailable())

    assert breaker.state == "closed"


def test_an_unrelated_error_does_not_count(breaker: Breaker) -> None:
    end(breaker, Unavailable(), ValueError(), Unavailable(), ValueError(), Unavailable())

    assert breaker.state == "open"


def test_when_half_open_one_call_is_the_probe_and_others_are_rejected(
    breaker: Breaker, clock: Clock
) -> None:
    trip(breaker)
    clock.now_s = FIRST_S
    assert (breaker.state, breaker.retry_after_s) == ("half-open", 0)

    with call(breaker):
        assert breaker.state == "half-open"
        with pytest.raises(CircuitOpen), call(breaker):
            pytest.fail("it passed")

    assert (breaker.state, breaker.openings) == ("closed", 1)
    with call(breaker), call(breaker):
        pass


def test_a_probe_that_fails_opens_it_for_longer_each_time_up_to_its_limit(
    breaker: Breaker, clock: Clock
) -> None:
    trip(breaker)
    waits: list[float] = []

    for _ in range(6):
        waits.append(breaker.retry_after_s)
        clock.now_s += breaker.retry_after_s
        end(breaker, Unavailable())
        assert breaker.state == "open"

    assert waits == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S, OPEN_S, OPEN_S]
    assert breaker.openings == 1


def test_after_a_trial_the_first_result_decides(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    trip(breaker)
    open_s: list[float] = []
    for well in (False, False, True):
        open_s.append(breaker.retry_after_s)
        clock.now_s += breaker.retry_after_s
        with breaker.call((Unavailable,), trial=True):
            pass
        assert breaker.state == "closed"
        breaker.note(well=well)

    assert open_s == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert (breaker.state, breaker.openings) == ("closed", 1)
    assert [each.getMessage() for each in caplog.records] == [
        "it: calls are paused; failures in a row: 3",
        "it: calls succeed again",
    ]


def test_the_next_outage_starts_with_a_short_wait(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now_s += FIRST_S
    end(breaker, Unavailable())
    clock.now_s += 2 * FIRST_S
    with call(breaker):
        pass

    trip(breaker)

    assert (breaker.retry_after_s, breaker.openings) == (FIRST_S, 2)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ValueError()])
def test_a_cancelled_probe_lets_the_next_call_probe(
    breaker: Breaker, clock: Clock, error: BaseException
) -> None:
    trip(breaker)
    clock.now_s = FIRST_S

    with pytest.raises(type(error)), call(breaker):
        raise error
    assert breaker.state == "half-open"
    with call(breaker):
        pass

    assert breaker.state == "closed"


def test_calls_in_progress_when_it_opened_change_nothing(breaker: Breaker, clock: Clock) -> None:
    good, bad = call(breaker), call(breaker)
    good.__enter__()
    bad.__enter__()
    trip(breaker)
    clock.now_s = FIRST_S / 2

    bad.__exit__(Unavailable, Unavailable(), None)
    good.__exit__(None, None, None)

    assert (breaker.state, breaker.retry_after_s) == ("open", FIRST_S / 2)


def test_notes_during_a_probe_are_ignored(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now_s = FIRST_S

    with call(breaker):
        breaker.note(well=True)
        breaker.note(well=False)
        assert breaker.state == "half-open"


ENDS: list[tuple[BaseException | None, bool | None]] = [
    (None, True),
    (Missing(), True),
    (Unavailable(), False),
    (ValueError(), None),
    (asyncio.CancelledError(), None),
]
"""How a call ends, and what the breaker concludes from it."""


class AnyHistory(RuleBasedStateMachine):
    """Calls begin and end in any order, and a simple model predicts each result."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker("it", failures=3, open_s=OPEN_S, clock=self.clock)
        self.under_way: list[AbstractContextManager[None]] = []
        self.probe: AbstractContextManager[None] | None = None
        self.in_a_row = 0
        self.open_until = -math.inf
        self.is_closed = True

    @rule(seconds=st.sampled_from([0.25, 1.0, OPEN_S]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def fail_in_a_row(self) -> None:
        for _ in range(3):
            self.breaker.note(well=False)
            self._expect(well=False)

    @rule()
    def begin(self) -> None:
        one = call(self.breaker)
        may_pass = self.is_closed or (self.probe is None and self.clock.now_s >= self.open_until)
        if not may_pass:
            with pytest.raises(CircuitOpen) as refused:
                one.__enter__()
            assert refused.value.retry_after_s == max(0, self.open_until - self.clock.now_s)
            return
        one.__enter__()
        self.under_way.append(one)
        self.probe = self.probe if self.is_closed else one

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), how=st.sampled_from(ENDS))
    def finish(self, data: st.DataObject, how: tuple[BaseException | None, bool | None]) -> None:
        one = data.draw(st.sampled_from(self.under_way))
        error, well = how
        self.under_way.remove(one)
        assert not one.__exit__(type(error) if error else None, error, None)
        if one is self.probe:
            self.probe = None
            if well:
                self.is_closed, self.in_a_row = True, 0
            elif well is False:
                self.open_until = self.clock.now_s + self.breaker.retry_after_s
                assert FIRST_S < self.breaker.retry_after_s <= OPEN_S
        else:
            self._expect(well=well)

    def _expect(self, *, well: bool | None) -> None:
        if self.is_closed and well is not None:
            self.in_a_row = 0 if well else self.in_a_row + 1
            if self.in_a_row == 3:
                self.is_closed, self.open_until = False, self.clock.now_s + FIRST_S

    @invariant()
    def it_says_what_it_does(self) -> None:
        if self.is_closed:
            expected = "closed"
        elif self.probe is None and self.clock.now_s < self.open_until:
            expected = "open"
        else:
            expected = "half-open"
        assert self.breaker.state == expected


TestAnyHistory = AnyHistory.TestCase
