"""The checks behind ``/health``: what each looks at, and when it says ``degraded`` or ``down``.

| check | looks at | ``degraded`` | ``down`` |
|---|---|---|---|
| ``redis`` | each partition's end, the id, the clock | some answer | none answers; another log |
| ``blobs`` | a small blob that is written, read and deleted | little or no room | it fails |
| ``sqlite`` | a query; the lag; the whole file, now and then | late | it fails, or is damaged |
| ``system_resources`` | memory and load of this machine | either above its setting | |
| ``worker_pool`` | who has reported of late | no worker | |

Nobody has to sign in to ask, so what costs something is done once for all who ask at a time.
"""

import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import anyio
import msgspec

from gateway import machine
from gateway.dependencies import Dependencies
from gateway.kept import Kept
from gateway.reading import lag_ms
from projections import checkpoints
from store import census
from store.blobs import PROBES
from store.breaker import State as BreakerState
from store.controls import ControlLog
from store.errors import CircuitOpen, Corrupt, Denied, Full, Replaced, StoreError, Unavailable
from store.foreign import noted
from store.position import Position

logger = logging.getLogger("photolog.gateway")

State = Literal["ok", "degraded", "down"]

PROBE = b"photolog was here"


class Check(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What was found; each check tells of its own part. One that is down has a ``reason``.

    ``lag_ms`` is how long the oldest event outside the read model has been waiting. ``integrity``
    of the read model's file is ``unknown`` while that takes too long to find out. ``breaker`` is
    that of Redis or of the blobs, left out while it is closed. ``paused`` are the stages that
    operators have paused, ``all`` alone for all of them: their photos wait, as they are to.
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
    paused: list[str] | None = None
    breaker: BreakerState = "closed"


class Checks:
    """The checks of one gateway. None takes longer than ``Limits.check_timeout_s``."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._limits = deps.limits
        self._probed = Kept(self._probe, deps.limits.probe_keep_s)
        self._said: dict[str, str] = {}
        self._examined = Kept(self._examine_file, deps.limits.integrity_keep_s)

    async def serving(self) -> dict[str, Check]:
        """What serving needs; cheap enough for a load balancer that asks every second."""
        return await self._all(redis=self._redis, blobs=self._disk, sqlite=self._read_model)

    async def everything(self) -> dict[str, Check]:
        return await self._all(
            redis=self._redis,
            blobs=self._blobs,
            sqlite=self._sqlite,
            system_resources=self._machine,
            worker_pool=self._workers,
        )

    async def _all(self, **checks: Callable[[], Awaitable[Check]]) -> dict[str, Check]:
        """The checks side by side; one that fails or takes too long is down."""
        late = f"takes longer than {self._limits.check_timeout_s:g} s"
        found = dict.fromkeys(checks, Check(status="down", reason=late))

        async def ask(name: str, check: Callable[[], Awaitable[Check]]) -> None:
            with anyio.move_on_after(self._limits.check_timeout_s):
                try:
                    found[name] = await check()
                    self._said.pop(check.__name__, None)
                except StoreError as error:
                    self._say(check.__name__, name, error)
                    found[name] = Check(status="down", reason=_reason(error))

        async with anyio.create_task_group() as group:
            for name, check in checks.items():
                group.start_soon(ask, name, check)
        for name, breaker in (
            ("redis", self._deps.log.redis.breaker),
            ("blobs", self._deps.blobs.breaker),
        ):
            found[name] = msgspec.structs.replace(found[name], breaker=breaker.state)
        return found

    def _say(self, check: str, name: str, error: StoreError) -> None:
        """Log the failure once, and not each time that somebody asks."""
        said = str(error)
        if self._said.get(check) != said:
            self._said[check] = said
            logger.warning("health: %s: %s", name, said)

    async def _redis(self) -> Check:
        """All partitions at once; those that answer work without the others."""
        began = time.monotonic()
        failures: list[StoreError] = []
        ends: list[Position] = []

        async def ask(partition: int) -> None:
            try:
                ends.append(await self._deps.log.end(partition))
                await self._deps.log.confirm(partition)
            except StoreError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for partition in range(self._deps.log.partitions):
                group.start_soon(ask, partition)
        try:
            await self._deps.log.confirm()
        except Replaced:
            raise
        except StoreError:  # on a cluster the partitions may be well all the same
            pass
        if len(failures) == self._deps.log.partitions:
            raise failures[0]
        if not failures:
            trouble = await self._foreign() or await self._clock(ends)
            status = "degraded" if trouble else "ok"
            return Check(status=status, reason=trouble, latency_ms=_since_ms(began))
        lost = any(isinstance(each, Replaced) for each in failures)
        trouble = "do not answer" if not lost else "do not answer, or have lost their events"
        away = f"{len(failures)} of {self._deps.log.partitions} partitions {trouble}"
        return Check(status="degraded", reason=away, latency_ms=_since_ms(began))

    async def _foreign(self) -> str | None:
        """Where the log has what is no event, as far as dispatchers have come upon it."""
        with suppress(Unavailable):  # that it answers has been seen
            found = await noted(self._deps.log)
            return f"has an entry that is no event, at {found}" if found else None
        return None

    async def _clock(self, ends: list[Position]) -> str | None:
        """How the clock of Redis, which gives the positions, differs from ours, or did."""
        bound_ms = self._limits.degraded_clock_s * 1000
        with suppress(Unavailable):  # that it answers has been seen
            ahead_ms = await census.clock_ahead_ms(self._deps.log)
            if abs(ahead_ms) > bound_ms:
                direction = "ahead of" if ahead_ms > 0 else "behind"
                seconds = abs(ahead_ms) / 1000
                return f"its clock is {seconds:,.1f} s {direction} this gateway's"
        last = max(ends)
        if last.ms > time.time() * 1000 + bound_ms:
            return f"has positions in the future, up to {last}: its clock was ahead"
        return None

    async def _disk(self) -> Check:
        """A disk that takes nothing more still gives what it has."""
        blobs = self._deps.blobs
        free = await blobs.free_bytes()
        with suppress(Full, Unavailable):
            await blobs.check()
        roomy = free is None or free > self._limits.min_free_bytes
        well = blobs.breaker.state == "closed" and roomy
        return Check(status="ok" if well else "degraded", free_bytes=free)

    async def _blobs(self) -> Check:
        probed = await self._probed.get(self._limits.check_timeout_s)
        if probed is None:
            raise Unavailable("a small blob takes too long")
        return probed

    async def _probe(self) -> Check:
        try:
            disk = await self._disk()
            latency_ms = await self._use_blob()
        except StoreError as error:
            self._say(PROBES, "blobs", error)
            status = "degraded" if isinstance(error, Full | CircuitOpen) else "down"
            return Check(status=status, reason=_reason(error))
        self._said.pop(PROBES, None)
        return msgspec.structs.replace(disk, latency_ms=latency_ms)

    async def _use_blob(self) -> float:
        """How long it takes to write, read and delete one, in milliseconds.

        The draft outlives the blob, so that a crash leaves a trace of what it did not finish.
        """
        blobs = self._deps.blobs
        key = f"{PROBES}/{uuid.uuid4().hex}"
        began = time.monotonic()
        async with blobs.draft(key) as draft:
            await draft.write(PROBE)
            await draft.commit()
            try:
                read = b"".join([chunk async for chunk in blobs.read(key)])
            finally:
                await blobs.delete(key)
        if read != PROBE:
            raise Corrupt("a blob was read that is not the one that was written")
        return _since_ms(began)

    async def _read_model(self) -> Check:
        await self._deps.reader.query(checkpoints.get, 0)
        try:
            partitions = range(self._deps.log.partitions)
            lag = max([await lag_ms(self._deps, partition) for partition in partitions])
        except Unavailable:  # Redis is away, which its own check says
            return Check(status="ok")
        late = lag > self._limits.degraded_lag_s * 1000
        return Check(status="degraded" if late else "ok", lag_ms=lag)

    async def _sqlite(self) -> Check:
        check = await self._read_model()
        # Half of the time: it may be needed to say that the answer is not known yet.
        integrity = await self._examined.get(self._limits.check_timeout_s / 2)
        status = "down" if integrity == "damaged" else check.status
        return msgspec.structs.replace(check, status=status, integrity=integrity or "unknown")

    async def _examine_file(self) -> Literal["ok", "damaged", "unknown"]:
        try:
            await self._deps.reader.check(self._limits.integrity_timeout_s)
        except Corrupt as error:
            logger.warning("health: sqlite: %s", error)
            return "damaged"
        except Unavailable as error:
            logger.info("health: sqlite: %s", error)
            return "unknown"
        return "ok"

    async def _machine(self) -> Check:
        memory, load = machine.memory_used_percent(), machine.load_per_processor()
        scarce = memory is not None and memory > self._limits.degraded_memory_percent
        busy = load > self._limits.degraded_load
        return Check(
            status="degraded" if scarce or busy else "ok",
            memory_used_percent=memory,
            load_per_processor=load,
        )

    async def _workers(self) -> Check:
        within_ms = int(self._limits.stalled_after_s * 1000)
        try:
            count = await census.workers(self._deps.log, within_ms)
        except Unavailable:  # Redis is away, which its own check says
            return Check(status="degraded", reason="Redis does not answer")
        paused = await self._paused()
        return Check(status="ok" if count else "degraded", workers=count, paused=paused or None)

    async def _paused(self) -> list[str]:
        """What operators have paused; nothing while partition 0, which knows, does not answer."""
        with suppress(Unavailable):
            controls = (await ControlLog(self._deps.log).load()).controls
            return ["all"] if controls.all_paused else sorted(controls.paused)
        return []


def _reason(error: StoreError) -> str:
    """In words of ours: whoever asks need not learn of servers and paths."""
    match error:
        case CircuitOpen():
            return "failed too often, and is not asked just now"
        case Denied():
            return "does not let us in"
        case Replaced():
            return "has another log than the one that was joined, or none"
        case Full():
            return "has no room left"
        case Corrupt():
            return "is damaged"
        case _:
            return "does not answer"


def _since_ms(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 2)
