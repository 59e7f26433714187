"""Token buckets that all processes share through Redis, with leases that save round trips.

A process leases tokens from the shared bucket in batches and spends them without another call. A
lease is valid for ``LEASE_S``; unused tokens go back with the next call. So in any time T, all
processes together spend at most ``capacity + rate * (T + LEASE_S)`` tokens, however many processes
there are; each may add the rest of a lease that a larger charge prolonged, which is less than that
charge.

- The script is atomic for all buckets of a call, and nothing else changes the buckets. Requests
  that arrive while a call to a partition is running go with the next call to it.
- A lease doubles each time it is used up, to at most one part in ``LEASE_PART`` of the bucket, so
  a small bucket is shared exactly, with a call for each use.
- A bucket known to have too few tokens is not asked again until it can have enough: rejecting a
  flood costs Redis nothing.
- Times in Redis are the server's. A full bucket has no key, and keys expire.
- If a partition does not answer within ``ANSWER_S``, its buckets continue with what this process
  knows of them, without waiting; each process then allows a whole bucket by itself.

The library ``limits`` (5.8) was considered. It has an asynchronous Redis storage and atomic
scripts, but no token bucket: its windows admit twice the limit around their edge, or keep an entry
per hit. A call tests one limit, the remaining tokens take a second call, and there are no leases.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import anyio
import msgspec
from anyio.abc import TaskGroup
from redis.exceptions import RedisError

from store import log_context
from store.breaker import Breaker
from store.errors import StoreError
from store.log.log import Log
from store.log_context import Subject
from store.redis.connection import Script, translated

logger = logging.getLogger("photolog.buckets")

LEASE_S = 2.0
LEASE_PART = 50
ANSWER_S = 0.5
"""How long a call may take before its buckets continue without Redis."""

AWAY_S = 2.0
"""The longest pause between two tries to reach Redis."""

MOST_IN_A_CALL = 100
KEPT = 10_000

_FAILURES = (StoreError, RedisError)
"""Any error of Redis is handled, because a rate limit must never fail a request."""

Charge = tuple["Bucket", int]
"""A bucket and the tokens to take from it."""


class Bucket:
    """One bucket as this process knows it: ``capacity`` tokens, refilled in ``window_s``.

    ``held`` tokens are leased until ``until``; ``aside`` tokens go back with the running call;
    ``shared`` tokens were left in Redis at ``at``. Times are of the local monotonic clock.
    """

    __slots__ = (
        "aside",
        "asked",
        "at",
        "batch",
        "capacity",
        "held",
        "key",
        "least",
        "partition",
        "rate",
        "shared",
        "until",
        "window_s",
    )

    def __init__(self, key: str, partition: int, capacity: int, window_s: int) -> None:
        self.key = key
        self.partition = partition
        self.capacity = capacity
        self.window_s = window_s
        self.rate = capacity / window_s
        self.held = 0
        self.aside = 0
        self.until = 0.0
        self.shared = float(capacity)
        self.at = 0.0
        self.batch = 1
        self.asked = 0
        self.least = 0

    def left(self, now: float) -> float:
        """Return the tokens left, as far as known; other processes may have taken some."""
        shared = min(self.capacity, self.shared + (now - self.at) * self.rate)
        return min(self.capacity, shared + self.held + self.aside)

    def wait_s(self, cost: int, now: float) -> float:
        """Return the seconds until the bucket can have ``cost`` tokens."""
        return max(0.0, (cost - self.left(now)) / self.rate)

    def spend(self, cost: int, now: float) -> bool:
        """Take tokens from a bucket that only this process uses; return whether it had enough."""
        self.ask(cost)
        self.take_alone(now)
        if self.held < cost:
            return False
        self.held -= cost
        return True

    def ask(self, cost: int) -> None:
        """Add ``cost`` tokens to the next lease."""
        self.least = min(self.least, cost) if self.asked else cost
        self.asked += cost

    def request(self, now: float) -> "_LeaseRequest":
        """Return the next request to Redis, and set aside the tokens that go back."""
        if self.asked == 0 and self.held >= 0:
            return _LeaseRequest(0, 0, 0)  # only to see the remaining tokens; the lease stays
        if self.until >= now:
            self.batch = 2 * max(self.batch, self.asked)
        elif self.held > 0:
            self.batch //= 2
        self.batch = max(1, min(self.batch, self.capacity // LEASE_PART))
        # A valid lease stays: callers that it was taken for may not have used it yet.
        back = self.held if self.until < now or self.held < 0 else 0
        request = _LeaseRequest(back, self.least, max(self.asked, self.batch))
        self.held, self.aside, self.asked = self.held - back, back, 0
        return request

    def undo(self, request: "_LeaseRequest") -> None:
        """Undo a request that got no answer."""
        self.held, self.aside = self.held + self.aside, 0
        self.asked, self.least = max(self.asked, request.least), request.least

    def take(self, tokens: int, left: float, now: float) -> None:
        """Add ``tokens`` to the lease; ``left`` tokens remain in Redis."""
        self.held, self.aside = self.held + tokens, 0
        self.shared, self.at = left, now
        if tokens > 0:
            self.until = now + LEASE_S

    def take_alone(self, now: float) -> None:
        """Lease the wanted tokens without Redis, from those that this process knows to be left."""
        self.shared, self.at, self.held, self.aside = self.left(now), now, 0, 0
        if self.shared >= self.least:
            self.held = min(self.asked, int(self.shared))
            self.shared -= self.held
            self.until = now + LEASE_S
        self.asked = 0


class _LeaseRequest(NamedTuple):
    """Tokens to give back, the fewest needed, and the most wanted."""

    back: int
    least: int
    most: int


class Table:
    """The buckets of one policy, by subject; the least recently used are dropped.

    A dropped bucket loses its lease; its state is read from Redis again.
    """

    def __init__(
        self, name: str, capacity: int, window_s: int, log: Log, *, kept: int = KEPT
    ) -> None:
        self._name = name
        self._capacity = capacity
        self._window_s = window_s
        self._log = log
        self._kept = kept
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, subject: str, client_id: str) -> Bucket:
        """Return the subject's bucket, in the partition of ``client_id``."""
        found = self._buckets.get(subject)
        if found is not None:
            self._buckets.move_to_end(subject)
            return found
        partition = self._log.partition_of(client_id)
        key = self._log.keys.allowance(partition, self._name, subject)
        made = Bucket(key, partition, self._capacity, self._window_s)
        self._buckets[subject] = made
        if len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)
        return made


class _CallQueue:
    """The calls to one partition, one at a time. ``ended`` is set when the next call has ended."""

    def __init__(self, partition: int) -> None:
        self.waiting: dict[str, Bucket] = {}
        self.ended = anyio.Event()
        self.busy = False
        self.breaker = Breaker(f"rate limits of partition {partition}", failures=1, open_s=AWAY_S)

    def release(self, now: float) -> None:
        """Let all waiting buckets continue without Redis."""
        for bucket in self.waiting.values():
            bucket.take_alone(now)
        self.waiting.clear()
        self.ended.set()
        self.ended = anyio.Event()


class Buckets:
    """Takes tokens from the buckets of one log, for one event loop.

    ``calls`` counts the calls to Redis. ``clock`` returns seconds.
    """

    def __init__(self, log: Log, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.calls = 0
        self.clock = clock
        self._keys = log.keys
        self._script: Script = log.redis.lua("clients/rate_limits")
        self._queues: dict[int, _CallQueue] = {}
        self._tasks: TaskGroup | None = None

    async def run(self) -> None:
        """Share the buckets through Redis until cancelled; otherwise each process uses its own."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                await anyio.sleep_forever()
        finally:
            self._tasks = None

    async def take(self, *charges: Charge) -> Bucket | None:
        """Take tokens from all of the buckets, or from none.

        Returns:
            None, or the first bucket that has too few.
        """
        while True:
            now = self.clock()
            lacking = [
                (bucket, cost)
                for bucket, cost in charges
                if bucket.held < cost or bucket.until < now
            ]
            if not lacking:
                for bucket, cost in charges:
                    bucket.held -= cost
                return None
            for bucket, cost in lacking:
                if bucket.left(now) < cost:
                    return bucket
            await self._lease(lacking, now)

    def take_known(self, bucket: Bucket) -> bool:
        """Take one token without waiting, if there may be one; the bucket is charged afterwards.

        So a process may also take tokens that others have taken since it last asked.
        """
        now = self.clock()
        if bucket.left(now) < 1:
            return False
        bucket.held -= 1
        if bucket.held < 0 or bucket.until < now:
            self._ask(bucket, 0, now)
        return True

    async def refresh(self, *buckets: Bucket) -> None:
        """Ask Redis for the remaining tokens; a bucket that cannot be asked stays as it is."""
        await self._lease([(bucket, 0) for bucket in buckets], self.clock())

    async def _lease(self, charges: list[Charge], now: float) -> None:
        for ended in [self._ask(bucket, cost, now) for bucket, cost in charges]:
            if ended is not None:
                await ended.wait()

    def _ask(self, bucket: Bucket, cost: int, now: float) -> anyio.Event | None:
        """Queue the bucket for a call; return the event of its end, None if Redis is not asked."""
        bucket.ask(cost)
        queue = self._queues.get(bucket.partition)
        if queue is None:
            queue = self._queues[bucket.partition] = _CallQueue(bucket.partition)
        if self._tasks is None or queue.breaker.state != "closed":
            bucket.take_alone(now)
            return None
        queue.waiting[bucket.key] = bucket
        if not queue.busy:
            queue.busy = True
            self._tasks.start_soon(self._serve, queue, bucket.partition)
        return queue.ended

    async def _serve(self, queue: _CallQueue, partition: int) -> None:
        """Make calls while buckets wait; if Redis is unavailable, retry until it is back."""
        log_context.begin(Subject())  # this outlives the request that started it
        probe = Bucket(self._keys.allowance(partition, "probe", ""), partition, 1, 1)
        try:
            while queue.waiting:
                asked = [queue.waiting.pop(key) for key in list(queue.waiting)[:MOST_IN_A_CALL]]
                ended, queue.ended = queue.ended, anyio.Event()
                try:
                    await self._call(queue, asked)
                finally:
                    ended.set()
                while queue.breaker.state != "closed":
                    queue.release(self.clock())
                    await anyio.sleep(queue.breaker.retry_after_s)
                    await self._call(queue, [probe])
        finally:
            queue.busy = False
            queue.release(self.clock())

    async def _call(self, queue: _CallQueue, buckets: list[Bucket]) -> None:
        now = self.clock()
        requests = [bucket.request(now) for bucket in buckets]
        args: list[int] = []
        for bucket, request in zip(buckets, requests, strict=True):
            args += (
                bucket.capacity,
                bucket.window_s * 1_000_000,
                request.back,
                request.least,
                request.most,
            )
        self.calls += 1
        reply: list[int] | None = None
        try:
            with queue.breaker.call(_FAILURES), translated(), anyio.fail_after(ANSWER_S):
                keys = [bucket.key for bucket in buckets]
                answer = msgspec.convert(await self._script(keys=keys, args=args), list[int])
                if len(answer) != 2 * len(buckets):
                    raise ValueError(f"{len(answer)} numbers for {len(buckets)} buckets")
                reply = answer
        except _FAILURES as error:
            logger.info("rate limits continue without Redis: %s", error)
        finally:
            now = self.clock()
            for at, (bucket, request) in enumerate(zip(buckets, requests, strict=True)):
                if reply is None:
                    bucket.undo(request)
                    bucket.take_alone(now)
                else:
                    bucket.take(reply[2 * at], reply[2 * at + 1] / 1000, now)
