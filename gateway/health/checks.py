"""The checks behind ``/health``: what each examines, and when it is ``degraded`` or ``down``.

| check | examines | ``degraded`` | ``down`` |
|---|---|---|---|
| ``redis`` | partitions, id, memory, clock | some answer; nearly full; clock off; unsafe | none |
| ``blobs`` | a small blob: write, read, delete | no space; damaged files | it fails |
| ``sqlite`` | a query; the lag; at times the whole file | late | it fails, or is damaged |
| ``system_resources`` | memory and load of this machine | either above its setting | |
| ``worker_pool`` | the workers that report | none; no decoders; unconfined; a stage without | |
| ``rooms`` | the hub, which follows the history | it failed recently | it is not running |
| ``background`` | the long-running tasks of all roles | one failed recently | |
| ``connections`` | open ones, see ``gateway.http.connections`` | only the reserve is left | |
| ``webhooks`` | their delivery | none delivers; one of the system is behind or disabled | |
| ``archive`` | what archivers report | a segment is damaged or missing; no space | |
| ``libraries`` | the C libraries of this installation | one is known to be vulnerable | |

The endpoints need no sign-in, so concurrent requests share each costly probe.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Literal

import anyio
import msgspec

from domain.pipeline.stages import all_stages
from gateway.dependencies import Dependencies
from gateway.health import archive_check, decoders, host_load, webhook_check
from gateway.health.blob_check import BlobCheck
from gateway.health.redis_check import RedisCheck
from gateway.health.results import Check, FailureLog, reason_for
from gateway.http.connections import Connections
from gateway.queries.reading import lag_ms
from gateway.rooms.hub import Hub
from gateway.state.cached_probe import CachedProbe
from projections.models import checkpoints
from store.background import STEADY_S
from store.errors import Corrupt, StoreError, Unavailable
from store.log.control import ControlLog
from store.queue import decoder_outages, known_stages, liveness
from store.queue.drain import inspect_rest

logger = logging.getLogger("photolog.gateway")

NOT_CONFINED = "decoders are not confined: use Linux on x86-64 or aarch64, and decoder_seccomp"

GATEWAY = "gateway"

NAMED = 10
"""Failing tasks that one response names."""

LIBRARIES_KEPT_S = 86_400.0
"""The libraries of a process do not change: only another installation has others."""


class Checks:
    """The checks of one gateway. None takes longer than ``Limits.check_timeout_s``."""

    def __init__(self, deps: Dependencies, hub: Hub, connections: Connections) -> None:
        self._deps = deps
        self._hub = hub
        self._connections = connections
        self._limits = deps.limits
        self._failures = FailureLog()
        self._redis = RedisCheck(deps)
        self._blobs = BlobCheck(deps, self._failures)
        self._examined = CachedProbe(
            self._examine_file, deps.limits.integrity_keep_s, deps.limits.integrity_percent
        )
        self._flaws = CachedProbe(deps.known_flaws, LIBRARIES_KEPT_S)

    async def serving(self) -> dict[str, Check]:
        """Check what serving needs; cheap enough for a load balancer that asks every second."""
        return await self._all(
            redis=self._redis.check,
            blobs=self._blobs.space,
            sqlite=self._read_model,
            rooms=self._rooms,
        )

    async def everything(self) -> dict[str, Check]:
        """Run all checks."""
        return await self._all(
            redis=self._redis.check,
            blobs=self._blobs.check,
            sqlite=self._sqlite,
            system_resources=self._machine,
            worker_pool=self._workers,
            rooms=self._rooms,
            background=self._background,
            connections=self._open_connections,
            webhooks=self._webhooks,
            archive=self._archive,
            libraries=self._libraries,
        )

    async def _all(self, **checks: Callable[[], Awaitable[Check]]) -> dict[str, Check]:
        """Run the checks concurrently; one that fails or takes too long is down."""
        late = f"takes longer than {self._limits.check_timeout_s:g} s"
        found = dict.fromkeys(checks, Check(status="down", reason=late))

        async def ask(name: str, check: Callable[[], Awaitable[Check]]) -> None:
            with anyio.move_on_after(self._limits.check_timeout_s):
                try:
                    found[name] = await check()
                    self._failures.succeeded(check.__qualname__)
                except StoreError as error:
                    self._failures.failed(check.__qualname__, name, error)
                    found[name] = Check(status="down", reason=reason_for(error))
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

    async def _read_model(self) -> Check:
        await self._deps.reader.query(checkpoints.get, 0)
        lags: list[int] = []
        failures: list[StoreError] = []

        async def ask(partition: int) -> None:
            try:
                lags.append(await lag_ms(self._deps, partition))
            except StoreError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for partition in range(self._deps.log.partitions):
                group.start_soon(ask, partition)
        for error in failures:
            if not isinstance(error, Unavailable):
                raise error
        if failures:  # the check of Redis reports them
            return Check(status="ok")
        late = max(lags) > self._limits.degraded_lag_s * 1000
        return Check(status="degraded" if late else "ok", lag_ms=max(lags))

    async def _sqlite(self) -> Check:
        check = await self._read_model()
        # Half of the time: the rest is needed to report that the result is not known yet.
        integrity = await self._examined.get(self._limits.check_timeout_s / 2)
        if integrity == "damaged":  # until its projector has made another file
            self._examined.expire()
        status = "down" if integrity == "damaged" else check.status
        return msgspec.structs.replace(check, status=status, integrity=integrity or "unknown")

    async def _examine_file(self) -> Literal["ok", "damaged", "unknown"]:
        try:
            await self._deps.reader.check(self._limits.integrity_timeout_s)
        except Corrupt as error:
            self._failures.failed("integrity", "sqlite", error)
            return "damaged"
        except Unavailable as error:
            logger.info("health: sqlite: %s", error)
            return "unknown"
        self._failures.succeeded("integrity")
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
            stuck = await decoder_outages.reported(self._deps.log, within_ms)
            unserved = await known_stages.unserved(self._deps.log, all_stages(), within_ms)
        except Unavailable:  # the check of Redis reports it
            return Check(status="degraded", reason="Redis does not answer")
        paused, draining = await self._paused(within_ms)
        free = not liveness.CONFINING.isdisjoint(without)
        reasons = [decoders.in_words(stuck, count)] if stuck else []
        reasons += [NOT_CONFINED] if free else []
        reasons += [_in_words(unserved)] if unserved and count else []
        return Check(
            status="degraded" if reasons or not count else "ok",
            reason="; ".join(reasons) or None,
            workers=count,
            workers_without_decoders=len(stuck) or None,
            paused=paused or None,
            draining=draining or None,
            decoders_without=without or None,
            unserved=unserved or None,
        )

    async def _paused(self, within_ms: int) -> tuple[list[str], list[str]]:
        """Return the paused stages, and those of them that are not idle yet.

        There are none while partition 0, which stores them, does not answer.
        """
        paused, draining = list[str](), list[str]()
        with suppress(Unavailable):
            steered = await ControlLog(self._deps.log).load()
            paused = ["all"] if steered.controls.all_paused else sorted(steered.controls.paused)
            if paused:
                rest = await inspect_rest(self._deps.log, steered, within_ms)
                stages = [each for each in all_stages() if steered.controls.is_paused(each)]
                draining = [each for each in stages if not rest.is_idle((each,))]
        return paused, draining

    async def _rooms(self) -> Check:
        if not self._hub.following:
            return Check(status="down", reason="the hub is not running and is being restarted")
        if "hub" in self._deps.background.failing:
            return Check(status="degraded", reason="the hub failed and was restarted")
        return Check(status="ok")

    async def _background(self) -> Check:
        """Check the tasks of this gateway, and those that other processes report."""
        failing = [(GATEWAY, task) for task in self._deps.background.failing]
        with suppress(Unavailable):  # the check of Redis reports it
            failing += await liveness.failing(self._deps.log, int(STEADY_S * 1000))
        named = [f"{task} ({process.partition(':')[0]})" for process, task in failing]
        if not named:
            return Check(status="ok")
        return Check(status="degraded", reason=f"failed recently: {', '.join(named[:NAMED])}")

    async def _open_connections(self) -> Check:
        held = self._connections
        scarce = "only connections for health checks, metrics, operators and auditors are left"
        return Check(
            status="degraded" if held.are_scarce else "ok",
            reason=scarce if held.are_scarce else self._deps.connections_note or None,
            open=held.open,
            max=held.max,
        )

    async def _webhooks(self) -> Check:
        return await webhook_check.check(self._deps.log, self._limits)

    async def _archive(self) -> Check:
        return await archive_check.check(self._deps.log)

    async def _libraries(self) -> Check:
        flaws = await self._flaws.get(self._limits.check_timeout_s / 2)
        if flaws is None:
            return Check(status="ok", reason="not examined yet")
        return Check(status="degraded" if flaws else "ok", reason="; ".join(flaws) or None)


def _in_words(unserved: Mapping[str, int]) -> str:
    """Return one sentence about the stages that no live worker runs, by their waiting tasks."""

    def named(stage: str, tasks: int) -> str:
        return f"{stage} ({tasks:,} {'task waits' if tasks == 1 else 'tasks wait'})"

    stages = ", ".join(named(stage, tasks) for stage, tasks in unserved.items())
    return f"no worker runs {stages}: start workers of a version that does"
