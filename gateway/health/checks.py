"""The checks behind ``/health``: what each looks at, and when it says ``degraded`` or ``down``.

| check | looks at | ``degraded`` | ``down`` |
|---|---|---|---|
| ``redis`` | partitions, id, memory, clock | some answer; nearly full; clock off; unsafe | none |
| ``blobs`` | a small blob that is written, read and deleted | no room; damaged files | it fails |
| ``sqlite`` | a query; the lag; the whole file, now and then | late | it fails, or is damaged |
| ``system_resources`` | memory and load of this machine | either above its setting | |
| ``worker_pool`` | who has reported of late | no worker; decoders not confined | |
| ``rooms`` | the hub that follows the history for them | it failed of late | it does not run |
| ``background`` | the long-running tasks of all roles | one has failed of late | |
| ``connections`` | open ones, see ``gateway.http.connections`` | only the reserve is left | |
| ``libraries`` | the C libraries of this installation | one is known to be vulnerable | |

Nobody has to sign in to ask, so what costs something is done once for all who ask at a time.
"""

import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Literal

import anyio
import msgspec

from gateway.dependencies import Dependencies
from gateway.health import damage, host_load
from gateway.http.connections import Connections
from gateway.limits.log_room import is_full
from gateway.queries.cached_probe import Kept
from gateway.queries.reading import lag_ms
from gateway.rooms.hub import Hub
from projections.models import checkpoints
from store import errors
from store.background import STEADY_S
from store.blobs import damaged
from store.blobs.damaged import DamagedFile
from store.blobs.interface import PROBES
from store.errors import CircuitOpen, Corrupt, Denied, Full, Replaced, StoreError, Unavailable
from store.log.control import ControlLog
from store.log.foreign import noted
from store.log.position import Position
from store.queue import liveness
from store.redis.breaker import State as BreakerState

logger = logging.getLogger("photolog.gateway")

State = Literal["ok", "degraded", "down"]

PROBE = b"photolog was here"

NOT_CONFINED = "decoders are not confined: use Linux on x86-64 or aarch64, and decoder_seccomp"

LOG_FULL = "nearly full: it takes no uploads, only results and deletions"
GATEWAY = "gateway"

NAMED = 10
"""Failing tasks that one answer names."""
LIBRARIES_KEPT_S = 86_400.0
"""Only another installation has other libraries, and that is another process."""


class Check(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What was found; each check tells of its own part. One that is down has a ``reason``.

    ``lag_ms`` is how long the oldest event outside the read model has been waiting. ``integrity``
    of the read model's file is ``unknown`` while that takes too long to find out. ``breaker`` is
    that of Redis or of the blobs, left out while it is closed. ``paused`` are the stages that
    operators have paused, ``all`` alone for all of them: their photos wait, as they are to.
    ``decoders_without`` names what is missing from the sandbox around the decoders of any worker.
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
    memory_bytes: int | None = None
    memory_max_bytes: int | None = None
    open: int | None = None
    max: int | None = None
    decoders_without: list[str] | None = None
    breaker: BreakerState = "closed"


class Checks:
    """The checks of one gateway. None takes longer than ``Limits.check_timeout_s``."""

    def __init__(self, deps: Dependencies, hub: Hub, connections: Connections) -> None:
        self._deps = deps
        self._hub = hub
        self._connections = connections
        self._limits = limits = deps.limits
        self._probed = Kept(self._probe, deps.limits.probe_keep_s)
        self._said: dict[str, str] = {}
        self._examined = Kept(self._examine_file, deps.limits.integrity_keep_s)
        stores = deps.log, deps.blobs
        self._looks_at_damage = (
            Kept(partial(damage.look, *stores), limits.probe_keep_s),
            Kept(partial(damage.look_again, *stores, deps.reader), limits.integrity_keep_s),
        )
        self._flaws = Kept(self._find_flaws, LIBRARIES_KEPT_S)

    async def serving(self) -> dict[str, Check]:
        """What serving needs; cheap enough for a load balancer that asks every second."""
        return await self._all(
            redis=self._redis, blobs=self._disk, sqlite=self._read_model, rooms=self._rooms
        )

    async def everything(self) -> dict[str, Check]:
        return await self._all(
            redis=self._redis,
            blobs=self._blobs,
            sqlite=self._sqlite,
            system_resources=self._machine,
            worker_pool=self._workers,
            rooms=self._rooms,
            background=self._background,
            connections=self._open_connections,
            libraries=self._libraries,
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
                except Exception as error:
                    self._deps.background.failed("health check", error, part=name)
                    found[name] = Check(status="down", reason="cannot be checked")

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
            fullest = await self._deps.log_room.fullest(self._deps.log)
            full = fullest is not None and is_full(fullest, self._limits)
            guarantee = self._deps.log.guarantee
            latency_ms = _since_ms(began)
            trouble = await self._foreign() or (LOG_FULL if full else await self._clock(ends))
            return Check(
                status="degraded" if trouble or guarantee.falls_short else "ok",
                reason=trouble or guarantee.risk or None,
                latency_ms=latency_ms,
                memory_bytes=fullest.used_bytes if fullest else None,
                memory_max_bytes=fullest.max_bytes if fullest else None,
            )
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
        """How far the log's clock is off: times of events, ages and retries go by it."""
        with suppress(Unavailable):
            ahead_s = await liveness.clock_ahead_ms(self._deps.log) / 1000
            off = self._limits.degraded_clock_s
            if abs(ahead_s) > off:
                where = "ahead of" if ahead_s > 0 else "behind"
                return f"its clock is {abs(ahead_s):,.0f} s {where} this gateway's"
            now = (await self._deps.log.now()).timestamp()
            future_s = max((each.ms for each in ends), default=0) / 1000 - now
            if future_s > off:
                return f"its clock was ahead: the last event is {future_s:,.0f} s in the future"
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
        found = await self._damaged()
        if not found or probed.status == "down":
            return probed
        reason = "; ".join(filter(None, (probed.reason, damage.in_words(found))))
        return msgspec.structs.replace(probed, status="degraded", reason=reason)

    async def _damaged(self) -> list[DamagedFile]:
        """The files that are missing or altered, as far as anybody has noticed."""
        patience_s = self._limits.check_timeout_s / 4
        for look in self._looks_at_damage:
            with suppress(StoreError):  # which its own check says
                await look.get(patience_s)
        with suppress(StoreError):
            return await damaged.noted(self._deps.log)
        return []

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
        if integrity == "damaged":  # until its projector has made another
            self._examined.expire()
        status = "down" if integrity == "damaged" else check.status
        return msgspec.structs.replace(check, status=status, integrity=integrity or "unknown")

    async def _examine_file(self) -> Literal["ok", "damaged", "unknown"]:
        try:
            await self._deps.reader.check(self._limits.integrity_timeout_s)
        except Corrupt as error:
            self._say("integrity", "sqlite", error)
            return "damaged"
        except Unavailable as error:
            logger.info("health: sqlite: %s", error)
            return "unknown"
        self._said.pop("integrity", None)
        return "ok"

    async def _machine(self) -> Check:
        memory, load = host_load.memory_used_percent(), host_load.load_per_processor()
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
            count = await liveness.workers(self._deps.log, within_ms)
            without = await liveness.unconfined(self._deps.log, within_ms)
        except Unavailable:  # Redis is away, which its own check says
            return Check(status="degraded", reason="Redis does not answer")
        paused = await self._paused()
        free = not liveness.CONFINING.isdisjoint(without)
        return Check(
            status="degraded" if free or not count else "ok",
            reason=NOT_CONFINED if free else None,
            workers=count,
            paused=paused or None,
            decoders_without=without or None,
        )

    async def _rooms(self) -> Check:
        if not self._hub.following:
            return Check(status="down", reason="the hub does not run, and is being restarted")
        if "hub" in self._deps.background.failing:
            return Check(status="degraded", reason="the hub failed, and was restarted")
        return Check(status="ok")

    async def _background(self) -> Check:
        """The tasks of this gateway, and those that other processes report."""
        failing = [(GATEWAY, task) for task in self._deps.background.failing]
        with suppress(Unavailable):  # which its own check says
            failing += await liveness.failing(self._deps.log, int(STEADY_S * 1000))
        named = [f"{task} ({process.partition(':')[0]})" for process, task in failing]
        if not named:
            return Check(status="ok")
        return Check(status="degraded", reason=f"failed of late: {', '.join(named[:NAMED])}")

    async def _open_connections(self) -> Check:
        held = self._connections
        scarce = "only those for health checks, metrics, operators and auditors are left"
        return Check(
            status="degraded" if held.are_scarce else "ok",
            reason=scarce if held.are_scarce else self._deps.connections_note or None,
            open=held.open,
            max=held.max,
        )

    async def _libraries(self) -> Check:
        flaws = await self._flaws.get(self._limits.check_timeout_s / 2)
        if flaws is None:
            return Check(status="ok", reason="not examined yet")
        return Check(status="degraded" if flaws else "ok", reason="; ".join(flaws) or None)

    async def _find_flaws(self) -> list[str]:
        return await self._deps.known_flaws()

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
        case errors.WrongType():
            return "has a key that somebody has spoiled: the gateway's log lines name it"
        case Full():
            return "has no room left"
        case Corrupt():
            return "is damaged"
        case _:
            return "does not answer"


def _since_ms(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 2)
