"""The places of uploads: how many are received at once, and how many of one client."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from domain.rejections import QuotaUploads
from gateway.http.problems import Refused


class Slots:
    """``total`` places; one client has three quarters of them at most, so that others get in."""

    def __init__(self, total: int) -> None:
        self.of_one_client = max(1, total * 3 // 4)
        self._all = anyio.CapacityLimiter(total)
        self._of: dict[str, anyio.CapacityLimiter] = {}
        self._asking: dict[str, int] = {}

    @property
    def taken(self) -> int:
        return int(self._all.borrowed_tokens)

    def open_of(self, client_id: str) -> int:
        """Uploads of the client that have a place or wait for one."""
        return self._asking.get(client_id, 0)

    @asynccontextmanager
    async def one(
        self, client_id: str, patience_s: float, *, most: int = 0
    ) -> AsyncGenerator[None]:
        """A place for an upload of the client; ``most`` is how many may be open, 0 for no limit.

        Raises:
            QuotaUploads: at once.
            Refused: ``busy``.
        """
        if most and self.open_of(client_id) >= most:
            raise QuotaUploads(f"{most:,} uploads of the client are open here.")
        own = self._of.setdefault(client_id, anyio.CapacityLimiter(self.of_one_client))
        self._asking[client_id] = self._asking.get(client_id, 0) + 1
        borrower = object()
        try:
            try:
                with anyio.fail_after(patience_s):
                    await own.acquire_on_behalf_of(borrower)
                    await self._all.acquire_on_behalf_of(borrower)
            except TimeoutError as error:
                raise Refused("busy", "Too many uploads are under way.") from error
            yield
        finally:
            for limiter in (self._all, own):
                if borrower in limiter.statistics().borrowers:
                    limiter.release_on_behalf_of(borrower)
            self._asking[client_id] -= 1
            if not self._asking[client_id]:
                del self._asking[client_id], self._of[client_id]
