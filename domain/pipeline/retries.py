"""What follows a failed attempt: whether, when and how often it is tried again, and who is told.

One strategy a category. Time and chance come in from outside.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from domain.pipeline.failures import Category

AlertLevel = Literal["none", "info", "warn", "error", "critical"]
Backoff = Literal["fixed", "linear", "exponential"]

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=1_000)]


class Strategy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``attempts`` counts the first one too. A delay is ``base_s``, grown by ``backoff`` with each
    attempt, at most ``cap_s``; with ``jitter`` it is drawn from nought up to that.

    From attempt ``escalation_threshold`` on, a failure is an alert of ``alert_level``.
    """

    retryable: bool = False
    attempts: Count = 3
    backoff: Backoff = "exponential"
    base_s: Seconds = 5.0
    cap_s: Seconds = 300.0
    jitter: bool = True
    escalation_threshold: Count = 3
    alert_level: AlertLevel = "error"


Strategies = dict[Category, Strategy]

STRATEGIES: Strategies = {
    Category.TEMPORARY: Strategy(retryable=True, alert_level="warn"),
    Category.RESOURCE: Strategy(retryable=True, base_s=10.0),
    Category.DATA: Strategy(alert_level="none"),
    Category.LOGIC: Strategy(escalation_threshold=1, alert_level="critical"),
    Category.SECURITY: Strategy(escalation_threshold=1, alert_level="warn"),
    Category.CONFIGURATION: Strategy(escalation_threshold=1, alert_level="critical"),
}

ATTEMPTS: dict[str, int] = {"decode-timeout": 2, "needs-too-much-memory": 2}
"""Failures, by code, that are tried less often than their category. What took too long mostly does
so again, and each attempt holds a decoder for all that time; but the machine may have been busy.
What is too large for one worker is for others of its size, but there may be larger ones."""


def strategy_of(strategies: Strategies, category: Category, code: str) -> Strategy:
    """What follows a failure of this category and code."""
    strategy = strategies[category]
    attempts = min(strategy.attempts, ATTEMPTS.get(code, strategy.attempts))
    return msgspec.structs.replace(strategy, attempts=attempts)


def delay_s(strategy: Strategy, attempt: int, chance: float) -> float | None:
    """How long to wait after ``attempt`` has failed, or None if that was the last one.

    ``chance`` is drawn from 0 up to 1. Full jitter spreads those who failed together best:
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    if not strategy.retryable or attempt >= strategy.attempts:
        return None
    match strategy.backoff:
        case "fixed":
            grown = strategy.base_s
        case "linear":
            grown = strategy.base_s * attempt
        case "exponential":
            # Beyond the cap anyway, and a power of two too large for a float is an error.
            grown = strategy.base_s * 2.0 ** min(attempt - 1, 64)
    capped = min(grown, strategy.cap_s)
    return capped * chance if strategy.jitter else capped


def escalates(strategy: Strategy, attempt: int) -> bool:
    """Whether the failure of ``attempt`` is to be told to the operators."""
    return strategy.alert_level != "none" and attempt >= strategy.escalation_threshold
