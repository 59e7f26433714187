"""Ask the server which files it has, and which photos were deleted there."""

from collections.abc import Iterable, Sequence
from urllib.parse import quote

import httpx
import msgspec

from ops.client.client import checked
from ops.client.retry import BUSY, Retry, Waiting

CHUNK = 1_000
"""The most files that one request may name."""

PAGE = 200
UNSEEN = frozenset({403, 404})
"""The statuses for a photo that the server does not have, or that the token may not look at."""

DELETED = frozenset({"photo.deleted", "photo.erased"})


class _Known(msgspec.Struct, frozen=True, rename="camel"):
    sha256: str
    photo_id: str


class _Answer(msgspec.Struct, frozen=True):
    known: list[_Known]


class _Event(msgspec.Struct, frozen=True):
    type: str


class _History(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    items: list[_Event]
    next_cursor: str | None = None


class KnownPhotos:
    """What the server has for one client, now. A busy server is retried; ``waiting`` is told why.

    Raises, in each method:
        httpx.TransportError: the server does not answer.
        UserError: it rejects the request.
    """

    def __init__(self, client: httpx.AsyncClient, waiting: Waiting) -> None:
        self._client = client
        self._waiting = waiting

    async def having(self, sha256: Iterable[str]) -> dict[str, str]:
        """Return the photos of the files that the server has, by their SHA-256."""
        wanted = list(dict.fromkeys(sha256))
        found: dict[str, str] = {}
        for start in range(0, len(wanted), CHUNK):
            response = await self._ask(
                "POST", "/api/photos/check", json={"sha256": wanted[start : start + CHUNK]}
            )
            answer = msgspec.json.decode(checked(response).content, type=_Answer)
            found |= {each.sha256: each.photo_id for each in answer.known}
        return found

    async def is_deleted(self, photo_id: str) -> bool:
        """Return whether the photo was deleted; false if that is unknown: sending loses nothing."""
        path = f"/api/photos/{quote(photo_id, safe='')}/history"
        cursor: dict[str, str] = {}
        while True:
            response = await self._ask("GET", path, params={"limit": str(PAGE), **cursor})
            if response.status_code in UNSEEN:
                return False
            page = msgspec.json.decode(checked(response).content, type=_History)
            if any(each.type in DELETED for each in page.items):
                return True
            if page.next_cursor is None:
                return False
            cursor = {"cursor": page.next_cursor}

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        json: dict[str, Sequence[str]] | None = None,
        params: dict[str, str] | None = None,
    ) -> httpx.Response:
        retry = Retry(waiting=self._waiting)
        while True:
            try:
                response = await self._client.request(method, path, json=json, params=params)
            except httpx.TransportError as error:
                await retry.after_loss(error)
                continue
            if response.status_code not in BUSY or not await retry.after_busy(response):
                return response
