"""A circuit breaker: stops calling a dependency that keeps failing, for a while.

| state | a call | until |
|---|---|---|
| closed | passes | too many failed in a row: open |
| open | is rejected at once | its time is over: half-open |
| half-open | passes if it is the only one, as the probe; others are rejected | the probe ends |

A probe that succeeds closes the breaker. One that fails opens it for twice as long as before, from
a sixteenth of ``open_s`` up to ``open_s``: a short outage is prolonged by about its own length, a
long one by ``open_s`` at most. A cancelled probe decides nothing, and the next call is the probe.

A probe that is a ``trial`` writes something else than the calls do, so it may succeed where they
fail. It lets calls pass, and the first result of one decides: a failure continues the outage.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Literal, get_args

from store.errors import CircuitOpen

logger = logging.getLogger("photolog.breaker")

State = Literal["closed", "half-open", "open"]
STATES: tuple[State, ...] = get_args(State)
Kinds = tuple[type[Exception], ...]

FAILURES = 5
OPEN_S = 5.0
FIRST_PART = 1 / 16


class Breaker:
    """Stands before the dependency ``name``, for the tasks of one event loop.

    ``failures`` in a row open it, for ``open_s`` at most; ``openings`` counts how often it went
    from closed to open. ``clock`` returns seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int = FAILURES,
        open_s: float = OPEN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._openings = 0
        self._threshold = failures
        self._longest_s = open_s
        self._clock = clock
        self._in_a_row = 0
        self._open_s = 0.0
        self._until: float | None = None
        self._probing = False
        self._on_trial = False

    @property
    def state(self) -> State:
        if self._until is None:
            return "closed"
        return "half-open" if self._probing or self.retry_after_s == 0 else "open"

    @property
    def openings(self) -> int:
        return self._openings

    @property
    def parts(self) -> "tuple[Breaker, ...]":
        """The breakers that it consists of: itself, unless it is a composite."""
        return (self,)

    @property
    def retry_after_s(self) -> float:
        """Seconds until a call can pass; 0 unless open."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    def another(self, name: str) -> "Breaker":
        """Return a closed breaker with the same settings."""
        return Breaker(name, failures=self._threshold, open_s=self._longest_s, clock=self._clock)

    @contextmanager
    def call(
        self, failures: Kinds, *, unrelated: Kinds = (), trial: bool = False
    ) -> Generator[None]:
        """Guard one call of the dependency, which is the probe if the breaker is not closed.

        An error in ``failures`` counts as a failure, one in ``unrelated`` or a cancellation does
        not count, and after any other error the dependency counts as available.

        Raises:
            CircuitOpen: the call is rejected.
        """
        is_probe = self._admit()
        well: bool | None = None
        try:
            yield
            well = True
        except unrelated:
            raise
        except failures:
            well = False
            raise
        except Exception:
            well = True
            raise
        finally:
            if is_probe:
                self._end_probe(well=well, trial=trial)
            elif well is not None:
                self.note(well=well)

    def note(self, *, well: bool) -> None:
        """Count the result of a use outside ``call``; ignored unless closed."""
        if self._until is not None:
            return
        if self._on_trial:
            self._decide(well=well)
            return
        self._in_a_row = 0 if well else self._in_a_row + 1
        if self._in_a_row >= self._threshold:
            self._openings += 1
            self._open(self._longest_s * FIRST_PART)
            logger.warning("%s: calls are paused; failures in a row: %d", self.name, self._in_a_row)

    def _admit(self) -> bool:
        """Admit the call, and return whether it is the probe; raises CircuitOpen."""
        if self._until is None:
            return False
        if self._probing or self.retry_after_s > 0:
            raise CircuitOpen(self.name, self.retry_after_s)
        self._probing = True
        return True

    def _end_probe(self, *, well: bool | None, trial: bool) -> None:
        self._probing = False
        if well and trial:
            self._until, self._on_trial = None, True
        elif well is not None:
            self._decide(well=well)

    def _decide(self, *, well: bool) -> None:
        """End the outage, or continue it for longer."""
        self._on_trial = False
        if well:
            self._until = None
            self._in_a_row = 0
            logger.warning("%s: calls succeed again", self.name)
        else:
            self._open(min(2 * self._open_s, self._longest_s))

    def _open(self, open_s: float) -> None:
        self._open_s = open_s
        self._until = self._clock() + open_s


class CompositeBreaker(Breaker):
    """Reports the worst state of its ``parts``; no call passes through it."""

    def __init__(self, name: str, parts: Callable[[], Iterable[Breaker]]) -> None:
        super().__init__(name)
        self._parts = parts

    @property
    def parts(self) -> tuple[Breaker, ...]:
        return tuple(self._parts())

    @property
    def state(self) -> State:
        worst = max((STATES.index(part.state) for part in self._parts()), default=0)
        return STATES[worst]

    @property
    def openings(self) -> int:
        return sum(part.openings for part in self._parts())

    @property
    def retry_after_s(self) -> float:
        return max((part.retry_after_s for part in self._parts()), default=0.0)
