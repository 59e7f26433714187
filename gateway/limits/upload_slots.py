"""Limit how many uploads are received at once, in total and per client."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from domain.rejections import QuotaUploads
from gateway.http.problems import Refused


class Slots:
    """The upload slots: ``total``, of which one client may hold at most three quarters."""

    def __init__(self, total: int) -> None:
        self.of_one_client = max(1, total * 3 // 4)
        self._all = anyio.CapacityLimiter(total)
        self._of: dict[str, anyio.CapacityLimiter] = {}
        self._asking: dict[str, int] = {}

    @property
    def taken(self) -> int:
        return int(self._all.borrowed_tokens)

    def open_of(self, client_id: str) -> int:
        """Return the number of the client's uploads that have a slot or wait for one."""
        return self._asking.get(client_id, 0)

    @asynccontextmanager
    async def one(
        self, client_id: str, patience_s: float, *, most: int = 0
    ) -> AsyncGenerator[None]:
        """Hold a slot for an upload; ``most`` limits the client's open uploads, 0 means no limit.

        Raises:
            QuotaUploads: immediately, if the client has ``most`` open uploads.
            Refused: ``busy``, if no slot becomes free within ``patience_s``.
        """
        if most and self.open_of(client_id) >= most:
            raise QuotaUploads(f"The client already has {most:,} open uploads at this gateway.")
        own = self._of.setdefault(client_id, anyio.CapacityLimiter(self.of_one_client))
        self._asking[client_id] = self._asking.get(client_id, 0) + 1
        borrower = object()
        try:
            try:
                with anyio.fail_after(patience_s):
                    await own.acquire_on_behalf_of(borrower)
                    await self._all.acquire_on_behalf_of(borrower)
            except TimeoutError as error:
                raise Refused("busy", "All slots for uploads are in use.") from error
            yield
        finally:
            for limiter in (self._all, own):
                if borrower in limiter.statistics().borrowers:
                    limiter.release_on_behalf_of(borrower)
            self._asking[client_id] -= 1
            if not self._asking[client_id]:
                del self._asking[client_id], self._of[client_id]
