"""Quotas of clients: the limits in force for each client, and how much of them is used.

The append enforces quotas across all gateways. A gateway also checks before it receives an upload,
so that it does not receive bytes that it cannot keep.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import msgspec

from domain.clients.quotas import DEFAULTS, OwnQuota, Quota
from domain.clients.quotas import Quotas as OwnQuotas
from domain.clients.usage import Usage
from domain.rejections import OverQuota, QuotaBytes
from gateway.dependencies import Dependencies
from gateway.limits.upload_slots import Slots
from store.blobs.partial_state import Partial
from store.errors import StoreError
from store.log.content_hashes import Used, over_quota
from store.log.control import ControlLog, ControlState
from store.outage import Outage

logger = logging.getLogger("photolog.gateway")

LOOK_S = 1.0
"""How often a gateway looks for quotas that were changed through another gateway."""

ASK_S = 1.0
"""How long an upload waits for its client's usage; the append checks the quota in any case."""


class Amount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A null ``limit`` means no limit."""

    used: int
    limit: int | None


class QuotaView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The usage of a client, and its limits.

    `bytes` counts originals and renditions; renditions replaced by a later job count until they are
    removed. `reservedBytes` is reserved in addition for the renditions of unfinished jobs, and for
    the unfinished resumable uploads on the machine that answers; 0 if bytes are not limited. `jobs`
    counts unfinished jobs, except those of a backfill. `uploads` counts uploads in progress on the
    gateway that answers. `idempotencyKeys` counts those of the last 24 hours.
    """

    photos: Amount
    bytes: Amount
    reserved_bytes: int
    jobs: Amount
    uploads: Amount
    idempotency_keys: Amount


class Quotas:
    """The quotas of all clients, as this gateway knows them.

    While the log cannot be asked, what was known last applies; before the first answer, the
    defaults do.
    """

    def __init__(self, deps: Dependencies, slots: Slots) -> None:
        self._deps = deps
        self._slots = slots
        self._control_log = ControlLog(deps.log)
        self._defaults = deps.limits.quota
        self._own: OwnQuotas = {}

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """Follow changes of quotas inside the block: part of the application's lifespan."""
        with suppress(StoreError), anyio.move_on_after(ASK_S):
            self.learn(await self._control_log.load())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._deps.background.keep, "quotas", self._follow)
            yield
            tasks.cancel_scope.cancel()

    def learn(self, steered: ControlState) -> None:
        self._own = steered.controls.quotas

    def own(self, client_id: str) -> OwnQuota:
        """Return the limits that an operator has set for the client."""
        return self._own.get(client_id, DEFAULTS)

    def of(self, client_id: str) -> Quota:
        """Return the limits in force for the client."""
        return self.own(client_id).over(self._defaults)

    async def view(self, client_id: str) -> QuotaView:
        """Return the client's usage and limits; raises Unavailable."""
        used, quota = await self._deps.log.usage(client_id), self.of(client_id)
        held = await self._deps.partials.held_bytes(client_id) if quota.bytes else 0
        return QuotaView(
            photos=_amount(used.usage.photos, quota.photos),
            bytes=_amount(used.usage.bytes, quota.bytes),
            reserved_bytes=quota.job_bytes * used.usage.jobs + held if quota.bytes else 0,
            jobs=_amount(used.usage.jobs, quota.jobs),
            uploads=_amount(self._slots.open_of(client_id), quota.uploads),
            idempotency_keys=_amount(used.idempotency_keys, quota.idempotency_keys),
        )

    async def room(
        self, client_id: str, least_bytes: int, key: str | None, *, besides: Partial | None = None
    ) -> int | None:
        """Return how large an upload of at least ``least_bytes`` may be; None if not limited.

        Unfinished resumable uploads take their bytes too, except ``besides``, the one in question.
        ``key`` is its idempotency key: a repeated upload is not rejected. If the log does not
        answer in time, the upload proceeds, because its append checks the quota.

        Raises:
            OverQuota: the upload would exceed the quota.
        """
        quota = self.of(client_id)
        if not (quota.photos or quota.bytes or quota.jobs or (key and quota.idempotency_keys)):
            return None
        with suppress(StoreError), anyio.move_on_after(ASK_S):
            used = await self._deps.log.usage(client_id)
            if quota.bytes:
                used = await self._with_unfinished(used, client_id, besides)
            refused = refusal(used, quota, max(least_bytes, 1), has_key=key is not None)
            limited = refused is not None or quota.bytes
            if limited and key and await self._deps.log.has_command(client_id, key):
                return None
            if refused is not None:
                raise refused
            if not quota.bytes:
                return None
            return quota.bytes - used.usage.bytes - _reserved(used, quota)
        return None

    async def _with_unfinished(self, used: Used, client_id: str, besides: Partial | None) -> Used:
        """Add the bytes of the client's unfinished uploads to its usage."""
        held = await self._deps.partials.held_bytes(client_id)
        own = besides.held_bytes if besides else 0
        usage = msgspec.structs.replace(used.usage, bytes=used.usage.bytes + max(0, held - own))
        return msgspec.structs.replace(used, usage=usage)

    async def _follow(self) -> None:
        outage = Outage(logger, "cannot read quotas, using the last known ones")
        while True:
            await anyio.sleep(LOOK_S)
            try:
                self.learn(await self._control_log.load())
                outage.over()
            except StoreError as error:
                outage.note(error)


def _amount(used: int, limit: int) -> Amount:
    return Amount(used=used, limit=limit or None)


def refusal(used: Used, quota: Quota, least_bytes: int, *, has_key: bool) -> OverQuota | None:
    """Return why an upload of a new photo would exceed the quota, None if it would not.

    The append decides by the same rule, in ``store/log/append.lua``;
    ``tests/gateway/limits/test_quota_rule.py`` compares both.
    """
    if has_key and 0 < quota.idempotency_keys <= used.idempotency_keys:
        return over_quota("keys", used.expires_ms, quota.idempotency_keys)
    reserved, names = _reserved(used, quota), Usage.__struct_fields__
    for name, more in zip(names, (1, least_bytes + reserved, 1), strict=True):
        found, most = getattr(used.usage, name), getattr(quota, name)
        if not most or found + more <= most:
            continue
        if name == "bytes" and most <= quota.job_bytes:
            return QuotaBytes(
                f"The quota of {most:,} bytes is too small: each job reserves"
                f" {quota.job_bytes:,} bytes.",
                advice="Ask the operator for a larger quota.",
            )
        return over_quota(name, found, most, reserved)
    return None


def _reserved(used: Used, quota: Quota) -> int:
    """Return the bytes reserved for jobs, including one more."""
    return quota.job_bytes * (used.usage.jobs + 1)
