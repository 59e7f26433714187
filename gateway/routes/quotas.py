"""Quotas of clients: what applies to whom, what is used, and how operators change it.

The append itself enforces quotas, over all gateways. A gateway looks before it receives an upload,
so that bytes which cannot be kept are not received.
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
from domain.rejections import OverQuota
from gateway.dependencies import Dependencies
from gateway.uploads.upload_slots import Slots
from store.errors import StoreError
from store.log.content_hashes import Used, over_quota
from store.log.control import ControlLog, Steered

logger = logging.getLogger("photolog.gateway")

LOOK_S = 1.0
"""How soon a gateway applies a quota that an operator has changed elsewhere."""

ASK_S = 1.0
"""How long an upload waits to hear what its client has; the append finds out in any case."""


class Amount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``limit`` is null where there is none."""

    used: int
    limit: int | None


class QuotaView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a client has, and may have.

    `bytes` are those of originals and renditions; renditions that a later job has replaced count
    until they are removed. `reservedBytes` are kept free beside them for the renditions of jobs
    that have not ended; 0 where bytes have no limit. `jobs` are those that have not ended, without
    those of a backfill. `uploads` are those that are open in the gateway that answers.
    `idempotencyKeys` are those of the last 24 hours.
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
        """Follow what operators say inside the block: a part of the lifespan of an application."""
        with suppress(StoreError), anyio.move_on_after(ASK_S):
            self.learn(await self._control_log.load())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._deps.background.keep, "quotas", self._follow)
            yield
            tasks.cancel_scope.cancel()

    def learn(self, steered: Steered) -> None:
        self._own = steered.controls.quotas

    def own(self, client_id: str) -> OwnQuota:
        """What an operator has set for the client."""
        return self._own.get(client_id, DEFAULTS)

    def of(self, client_id: str) -> Quota:
        """What applies to the client."""
        return self.own(client_id).over(self._defaults)

    async def view(self, client_id: str) -> QuotaView:
        """What the client has now, and may have; raises Unavailable."""
        used, quota = await self._deps.log.usage(client_id), self.of(client_id)
        return QuotaView(
            photos=_amount(used.usage.photos, quota.photos),
            bytes=_amount(used.usage.bytes, quota.bytes),
            reserved_bytes=quota.job_bytes * used.usage.jobs if quota.bytes else 0,
            jobs=_amount(used.usage.jobs, quota.jobs),
            uploads=_amount(self._slots.open_of(client_id), quota.uploads),
            idempotency_keys=_amount(used.idempotency_keys, quota.idempotency_keys),
        )

    async def room(self, client_id: str, least_bytes: int, key: str | None) -> int | None:
        """How large an upload of at least ``least_bytes`` may be; None for as large as it likes.

        ``key`` is its idempotency key: what was done under it before is not refused. Where the log
        does not answer soon, the upload goes on: its append is checked.

        Raises:
            OverQuota: the upload cannot be accepted.
        """
        quota = self.of(client_id)
        if not (quota.photos or quota.bytes or quota.jobs or (key and quota.idempotency_keys)):
            return None
        with suppress(StoreError), anyio.move_on_after(ASK_S):
            used = await self._deps.log.usage(client_id)
            refusal = _refusal(used, quota, max(least_bytes, 1), has_key=key is not None)
            limited = refusal is not None or quota.bytes
            if limited and key and await self._deps.log.has_command(client_id, key):
                return None
            if refusal is not None:
                raise refusal
            if not quota.bytes:
                return None
            return quota.bytes - used.usage.bytes - _reserved(used, quota)
        return None

    async def _follow(self) -> None:
        hindered = False
        while True:
            await anyio.sleep(LOOK_S)
            try:
                self.learn(await self._control_log.load())
                hindered = False
            except StoreError as error:
                if not hindered:
                    logger.warning("quotas could not be read, the last known apply: %s", error)
                hindered = True


def _amount(used: int, limit: int) -> Amount:
    return Amount(used=used, limit=limit or None)


def _refusal(used: Used, quota: Quota, least_bytes: int, *, has_key: bool) -> OverQuota | None:
    """Why an upload cannot be accepted, in the order in which the append looks."""
    if has_key and 0 < quota.idempotency_keys <= used.idempotency_keys:
        return over_quota("keys", used.expires_ms, quota.idempotency_keys)
    reserved, names = _reserved(used, quota), Usage.__struct_fields__
    for name, more in zip(names, (1, least_bytes + reserved, 1), strict=True):
        found, most = getattr(used.usage, name), getattr(quota, name)
        if most and found + more > most:
            return over_quota(name, found, most, reserved)
    return None


def _reserved(used: Used, quota: Quota) -> int:
    """The bytes reserved for jobs if one more is accepted."""
    return quota.job_bytes * (used.usage.jobs + 1)
