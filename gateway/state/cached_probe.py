"""Slow probes, run apart from the requests that ask for their results."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class CachedProbe(Generic[T]):
    """Cache the result of ``look`` for ``keep_s`` seconds.

    It is kept for longer if looks would take more than ``busy_percent`` of the time otherwise. At
    most one look runs at a time, however many callers wait; it continues when they give up.
    """

    def __init__(
        self,
        look: Callable[[], Coroutine[Any, Any, T]],
        keep_s: float,
        busy_percent: float = 100.0,
    ) -> None:
        self._look = look
        self._keep_s = keep_s
        self._rests = 100.0 / busy_percent - 1.0
        self._began_at = 0.0
        self._looking: asyncio.Task[T] | None = None
        self._fresh_until = 0.0

    async def get(self, patience_s: float) -> T | None:
        """Return the result, or None if it takes longer than ``patience_s``."""
        if self._looking is None or self._is_old(self._looking):
            self._began_at = time.monotonic()
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._found)
        await asyncio.wait({self._looking}, timeout=patience_s)
        return self._looking.result() if self._looking.done() else None

    def expire(self) -> None:
        """Discard the cached result, so that the next call looks again."""
        self._fresh_until = float("-inf")

    def _is_old(self, looking: "asyncio.Task[T]") -> bool:
        return looking.done() and time.monotonic() >= self._fresh_until

    def _found(self, _: "asyncio.Task[T]") -> None:
        now = time.monotonic()
        self._fresh_until = now + max(self._keep_s, (now - self._began_at) * self._rests)
