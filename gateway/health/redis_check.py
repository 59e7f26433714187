"""The health check of the log: its partitions, identity, memory, clock and durability."""

import time
from contextlib import suppress

import anyio

from gateway.dependencies import Dependencies
from gateway.health.results import Check, elapsed_ms
from gateway.state.log_memory import is_full
from store.errors import Replaced, StoreError, Unavailable
from store.log.foreign import noted
from store.log.position import Position
from store.queue import liveness

LOG_FULL = "nearly full: uploads are rejected, only results and deletions are accepted"


class RedisCheck:
    """Checks the log of one gateway."""

    def __init__(self, deps: Dependencies) -> None:
        self._log = deps.log
        self._log_room = deps.log_memory
        self._limits = deps.limits

    async def check(self) -> Check:
        """Check all partitions concurrently; those that answer work without the others.

        Raises:
            StoreError: no partition answers, or Redis holds another log.
        """
        began = time.monotonic()
        failures: list[StoreError] = []
        ends: list[Position] = []

        async def ask(partition: int) -> None:
            try:
                ends.append(await self._log.end(partition))
                await self._log.confirm(partition)
            except StoreError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for partition in range(self._log.partitions):
                group.start_soon(ask, partition)
        try:
            await self._log.confirm()
        except Replaced:
            raise
        except StoreError:  # in a cluster, the partitions may work all the same
            pass
        if len(failures) == self._log.partitions:
            raise failures[0]
        if failures:
            return self._partly_down(failures, began)
        return await self._all_answer(ends, began)

    async def _all_answer(self, ends: list[Position], began: float) -> Check:
        fullest = await self._log_room.fullest(self._log)
        full = fullest is not None and is_full(fullest, self._limits)
        guarantee = self._log.guarantee
        latency_ms = elapsed_ms(began)
        trouble = await self._foreign_entry() or (LOG_FULL if full else await self._clock(ends))
        return Check(
            status="degraded" if trouble or guarantee.falls_short else "ok",
            reason=trouble or guarantee.risk or None,
            latency_ms=latency_ms,
            memory_bytes=fullest.used_bytes if fullest else None,
            memory_max_bytes=fullest.max_bytes if fullest else None,
        )

    def _partly_down(self, failures: list[StoreError], began: float) -> Check:
        lost = any(isinstance(each, Replaced) for each in failures)
        trouble = "did not answer, or lost events" if lost else "did not answer"
        count = self._log.partitions
        who = "The log" if count == 1 else f"{len(failures)} of {count} partitions"
        reason = f"{who} {trouble}"
        return Check(status="degraded", reason=reason, latency_ms=elapsed_ms(began))

    async def _foreign_entry(self) -> str | None:
        """Return where a dispatcher has found an entry in the log that is not an event."""
        with suppress(Unavailable):  # the check has already seen it answer
            found = await noted(self._log)
            return f"contains an entry that is not an event, at {found}" if found else None
        return None

    async def _clock(self, ends: list[Position]) -> str | None:
        """Return how far the log's clock is off: event times, ages and retries depend on it."""
        with suppress(Unavailable):
            ahead_s = await liveness.clock_ahead_ms(self._log) / 1000
            off = self._limits.degraded_clock_s
            if abs(ahead_s) > off:
                where = "ahead of" if ahead_s > 0 else "behind"
                return f"its clock is {abs(ahead_s):,.0f} s {where} this gateway's"
            future_s = max((each.ms for each in ends), default=0) / 1000 - time.time() - ahead_s
            if future_s > off:
                return f"its clock was ahead: the last event is {future_s:,.0f} s in the future"
        return None
