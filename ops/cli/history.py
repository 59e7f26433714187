"""``photolog history``"""

from collections.abc import AsyncIterator
from urllib.parse import quote

import anyio
import click
import httpx
import msgspec

from ops.cli.server import with_server
from ops.client.client import Server, checked, connected
from ops.client.text_table import console, table
from ops.event_format import Shown, say_json, what

PAGE = 200

HINTS = {
    "photo-not-found": "If the photo is another client's, name that client with --client, or read "
    "all photos with --role auditor."
}


class _Page(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    items: list[msgspec.Raw]
    next_cursor: str | None = None


@click.command()
@click.argument("photo_id")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@with_server
def command(server: Server, photo_id: str, as_json: bool) -> None:
    """Show everything that happened to a photo, oldest first.

    With --role operator or auditor, the photo may be another client's.
    """

    async def run() -> list[bytes]:
        async with connected(server.url, server.token) as client:
            return [bytes(event) async for event in _events(client, photo_id)]

    events = anyio.run(run)
    if as_json:
        for event in events:
            say_json(event)
    else:
        _tell([msgspec.json.decode(event, type=Shown) for event in events])


def _tell(events: list[Shown]) -> None:
    rows = [(each.time, each.type, each.actor, what(each)) for each in events]
    console().print(table(("Time (UTC)", "Event", "By", "What"), rows))


async def _events(client: httpx.AsyncClient, photo_id: str) -> AsyncIterator[msgspec.Raw]:
    cursor: str | None = None
    while True:
        response = await client.get(
            f"/api/photos/{quote(photo_id, safe='')}/history",
            params={"limit": PAGE} | ({"cursor": cursor} if cursor else {}),
        )
        page = msgspec.json.decode(checked(response, hints=HINTS).content, type=_Page)
        for event in page.items:
            yield event
        cursor = page.next_cursor
        if cursor is None:
            return
