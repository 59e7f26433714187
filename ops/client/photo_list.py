"""Read the list of photos, page by page."""

import math
from collections.abc import AsyncIterator, Mapping

import httpx
import msgspec

from ops.client.client import checked

PAGE = 200


class _Page(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    items: list[msgspec.Raw]
    next_cursor: str | None = None


async def pages(
    client: httpx.AsyncClient, filters: Mapping[str, str], most: int | None = None
) -> AsyncIterator[list[msgspec.Raw]]:
    """Yield the photos that ``filters`` select, newest first; raises UserError."""
    cursor: str | None = None
    left = math.inf if most is None else most
    while True:
        response = await client.get(
            "/api/photos",
            params={"limit": int(min(PAGE, left)), **filters}
            | ({"cursor": cursor} if cursor else {}),
        )
        page = msgspec.json.decode(checked(response).content, type=_Page)
        yield page.items
        left -= len(page.items)
        cursor = page.next_cursor
        if cursor is None or left <= 0:
            return
