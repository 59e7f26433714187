"""The retry rules: whether, when and how often a failed attempt is retried, and when to alert.

Each category has one strategy. Time and randomness come from the caller.
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
    """``attempts`` includes the first one. The delay is ``base_s``, grown by ``backoff`` with each
    attempt, up to ``cap_s``; with ``jitter`` it is drawn between zero and that.

    From attempt ``escalation_threshold`` on, a failure raises an alert of ``alert_level``.
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
"""The most attempts for failures, by code, that are retried less often than their category.

A timeout mostly recurs, and each attempt occupies a decoder for all that time; but the machine may
have been busy. A picture too large for one worker is too large for others of its size; but there
may be larger ones."""


def strategy_of(strategies: Strategies, category: Category, code: str) -> Strategy:
    """Return the strategy for a failure of this category and code."""
    strategy = strategies[category]
    attempts = min(strategy.attempts, ATTEMPTS.get(code, strategy.attempts))
    return msgspec.structs.replace(strategy, attempts=attempts)


def delay_s(strategy: Strategy, attempt: int, chance: float) -> float | None:
    """Return how long to wait after ``attempt`` has failed, or None if that was the last one.

    ``chance`` is a random number from 0 to 1. Full jitter best spreads tasks that failed together:
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
            # Beyond the cap anyway; a larger power of two would overflow a float.
            grown = strategy.base_s * 2.0 ** min(attempt - 1, 64)
    capped = min(grown, strategy.cap_s)
    return capped * chance if strategy.jitter else capped


def escalates(strategy: Strategy, attempt: int) -> bool:
    """Return whether the failure of ``attempt`` raises an alert."""
    return strategy.alert_level != "none" and attempt >= strategy.escalation_threshold
