"""Answer many callers from one look at something that is expensive to inspect."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedLook(Generic[T]):
    """Share each result of ``look`` for ``keep_s`` seconds; at most one look runs at a time.

    A look that fails raises its error in all callers that wait for it, and the next call looks
    again.
    """

    def __init__(self, look: Callable[[], Coroutine[Any, Any, T]], keep_s: float) -> None:
        self._look = look
        self._keep_s = keep_s
        self._looking: asyncio.Task[T] | None = None
        self._began = float("-inf")
        self._changed = float("-inf")

    async def get(self, *, fresh: bool = False) -> T:
        """Return a result; a ``fresh`` one is of a look that began after this call."""
        now = time.monotonic()
        oldest = now if fresh else max(now - self._keep_s, self._changed)
        while True:
            looking = self._looking
            if looking is not None and self._began >= oldest:
                await asyncio.wait({looking})
                return looking.result()
            if looking is not None and not looking.done():
                await asyncio.wait({looking})
                continue
            self._began = time.monotonic()
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._ended)

    def expire(self) -> None:
        """Let later calls look again, because something has changed."""
        self._changed = time.monotonic()

    def _ended(self, looking: "asyncio.Task[T]") -> None:
        if looking.cancelled() or looking.exception() is not None:
            self._began = float("-inf")
