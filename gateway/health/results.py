"""The result of a health check, and how a failure is worded and logged."""

import logging
import time
from typing import Literal

import msgspec

from store import errors
from store.breaker import State as BreakerState
from store.errors import CircuitOpen, Corrupt, Denied, Full, Replaced, StoreError

logger = logging.getLogger("photolog.gateway")

State = Literal["ok", "degraded", "down"]


class Check(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The result of one check; each check sets the fields of its own part.

    A check that is down has a ``reason``. ``lag_ms`` is how long the oldest event outside the read
    model has been waiting. ``integrity`` of the read model's file is ``unknown`` while examining it
    takes too long. ``breaker`` is the circuit breaker of Redis or of the blob store, left out while
    it is closed. ``paused`` lists the stages that operators have paused, or only ``all``: their
    photos wait on purpose. ``draining`` lists those that are not idle yet: tasks that have begun
    finish. ``decoders_without`` names what is missing from the sandbox around the decoders of any
    worker; ``workers_without_decoders`` counts the workers that cannot start any. ``unserved`` has
    the stages that no live worker runs, with the number of their tasks that wait. ``behind_ms`` is
    the age of the oldest event that a webhook waits for; ``failing`` and ``disabled`` count the
    webhooks whose last attempt failed, and those that a failure has disabled.
    """

    status: State
    reason: str | None = None
    latency_ms: float | None = None
    free_bytes: int | None = None
    lag_ms: int | None = None
    integrity: Literal["ok", "damaged", "unknown"] | None = None
    memory_used_percent: float | None = None
    load_per_processor: float | None = None
    workers: int | None = None
    workers_without_decoders: int | None = None
    paused: list[str] | None = None
    draining: list[str] | None = None
    unserved: dict[str, int] | None = None
    behind_ms: int | None = None
    failing: int | None = None
    disabled: int | None = None
    memory_bytes: int | None = None
    memory_max_bytes: int | None = None
    open: int | None = None
    max: int | None = None
    decoders_without: list[str] | None = None
    breaker: BreakerState = "closed"


class FailureLog:
    """Logs each failure once, not on every request for the health of the gateway."""

    def __init__(self) -> None:
        self._logged: dict[str, str] = {}

    def failed(self, probe: str, check: str, error: StoreError) -> None:
        """Log that the probe of the check failed, unless it failed the same way before."""
        text = str(error)
        if self._logged.get(probe) != text:
            self._logged[probe] = text
            logger.warning("health: %s: %s", check, text)

    def succeeded(self, probe: str) -> None:
        """Log the probe's next failure again, whatever it is."""
        self._logged.pop(probe, None)


def reason_for(error: StoreError) -> str:
    """Describe the failure without the names of servers and paths: anybody may ask for health."""
    match error:
        case CircuitOpen():
            return "failed too often; the circuit breaker is open"
        case Denied():
            return "denies access to the gateway"
        case Replaced():
            return "holds another log than the one that the gateway joined, or none"
        case errors.WrongType():
            return "has a key of the wrong type; the gateway's log names it"
        case Full():
            return "has no space left"
        case Corrupt():
            return "is damaged"
        case _:
            return "does not answer"


def elapsed_ms(began: float) -> float:
    """Return the milliseconds since ``began``, a reading of ``time.monotonic``."""
    return round((time.monotonic() - began) * 1000, 2)
