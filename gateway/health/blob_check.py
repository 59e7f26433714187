"""The health check of the blob store: whether it takes a blob, its free space, damaged files."""

import time
import uuid
from contextlib import suppress
from functools import partial

import msgspec

from gateway.dependencies import Dependencies
from gateway.health import damage
from gateway.health.results import Check, FailureLog, elapsed_ms, reason_for
from gateway.state.cached_probe import CachedProbe
from store.blobs import damaged
from store.blobs.damaged import DamagedFile
from store.blobs.interface import PROBES
from store.errors import CircuitOpen, Corrupt, Full, StoreError, Unavailable

PROBE = b"photolog was here"


class BlobCheck:
    """Checks the blob store of one gateway."""

    def __init__(self, deps: Dependencies, failures: FailureLog) -> None:
        self._log = deps.log
        self._blobs = deps.blobs
        self._limits = limits = deps.limits
        self._failures = failures
        self._probed = CachedProbe(self._probe, limits.probe_keep_s)
        stores = deps.log, deps.blobs
        self._looks_at_damage = (
            CachedProbe(partial(damage.look, *stores), limits.probe_keep_s),
            CachedProbe(
                partial(damage.look_again, *stores, deps.reader, set()), limits.integrity_keep_s
            ),
        )

    async def space(self) -> Check:
        """Check the free space; a full disk can still serve what it holds."""
        free = await self._blobs.free_bytes()
        with suppress(Full, Unavailable):
            await self._blobs.check()
        has_room = free is None or free > self._limits.min_free_bytes
        is_well = self._blobs.breaker.state == "closed" and has_room
        return Check(status="ok" if is_well else "degraded", free_bytes=free)

    async def check(self) -> Check:
        """Check that a blob can be written, read and deleted, and look for damaged files.

        Raises:
            Unavailable: that takes too long.
        """
        probed = await self._probed.get(self._limits.check_timeout_s)
        if probed is None:
            raise Unavailable("writing, reading and deleting a small blob takes too long")
        found = await self._damaged()
        if not found or probed.status == "down":
            return probed
        reason = "; ".join(filter(None, (probed.reason, damage.in_words(found))))
        return msgspec.structs.replace(probed, status="degraded", reason=reason)

    async def _damaged(self) -> list[DamagedFile]:
        """Return the files that are known to be missing or altered."""
        patience_s = self._limits.check_timeout_s / 4
        for look in self._looks_at_damage:
            with suppress(StoreError):  # the store's own check reports it
                await look.get(patience_s)
        with suppress(StoreError):
            return await damaged.noted(self._log)
        return []

    async def _probe(self) -> Check:
        try:
            space = await self.space()
            latency_ms = await self._use_blob()
        except StoreError as error:
            self._failures.failed(PROBES, "blobs", error)
            status = "degraded" if isinstance(error, Full | CircuitOpen) else "down"
            return Check(status=status, reason=reason_for(error))
        self._failures.succeeded(PROBES)
        return msgspec.structs.replace(space, latency_ms=latency_ms)

    async def _use_blob(self) -> float:
        """Write, read and delete a blob; return how long it takes in milliseconds.

        The draft outlives the blob, so that a crash leaves a trace of the unfinished probe.
        """
        key = f"{PROBES}/{uuid.uuid4().hex}"
        began = time.monotonic()
        async with self._blobs.draft(key) as draft:
            await draft.write(PROBE)
            await draft.commit()
            try:
                read = b"".join([chunk async for chunk in self._blobs.read(key)])
            finally:
                await self._blobs.delete(key)
        if read != PROBE:
            raise Corrupt("the blob that was read differs from the one that was written")
        return elapsed_ms(began)
