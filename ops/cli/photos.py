"""``photolog photos``"""

from collections.abc import AsyncIterator
from typing import get_args

import anyio
import click
import httpx
import msgspec

from domain.photo.status import Status
from ops.cli.server import with_server
from ops.client.client import Server, checked, connected
from ops.event_format import printable, say, say_json

PAGE = 200

HEADINGS = ("Photo", "Status", "Uploaded (UTC)", "Client", "Name")
WIDTHS = (36, 10, 19)
"""The widths of the columns that are the same for every photo."""


class _Page(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    items: list[msgspec.Raw]
    next_cursor: str | None = None


class _Photo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The fields of a photo that its line shows."""

    photo_id: str
    client_id: str
    original_filename: str
    processing_status: str
    damaged: bool
    uploaded_at: str


@click.command()
@click.option("--status", type=click.Choice(get_args(Status)), help="Only photos with this status.")
@click.option("--session", metavar="ID", help="Only photos of this session.")
@click.option("--owner", metavar="ID", help="Only photos of this client.")
@click.option("--json", "as_json", is_flag=True, help="Print each photo as one line of JSON.")
@with_server
def command(
    server: Server, status: str | None, session: str | None, owner: str | None, as_json: bool
) -> None:
    """List photos, newest first.

    Lists the client's own photos or, with --role operator or auditor, those of all clients.
    """
    given = {"status": status, "sessionId": session, "clientId": owner}
    filters = {name: value for name, value in given.items() if value is not None}

    async def run() -> None:
        async with connected(server.url, server.token) as client:
            first = True
            async for photos in _pages(client, filters):
                if as_json:
                    for photo in photos:
                        say_json(bytes(photo))
                else:
                    _tell([msgspec.json.decode(each, type=_Photo) for each in photos], first=first)
                first = False

    anyio.run(run)


async def _pages(
    client: httpx.AsyncClient, filters: dict[str, str]
) -> AsyncIterator[list[msgspec.Raw]]:
    cursor: str | None = None
    while True:
        response = await client.get(
            "/api/photos",
            params={"limit": PAGE} | filters | ({"cursor": cursor} if cursor else {}),
        )
        page = msgspec.json.decode(checked(response).content, type=_Page)
        yield page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _tell(photos: list[_Photo], *, first: bool) -> None:
    """Print a line for each photo; the ``first`` page also prints headings, or that none exist."""
    if first and not photos:
        say("There are no such photos.")
        return
    rows = [_row(each) for each in photos]
    if first:
        rows.insert(0, HEADINGS)
    widths = (*WIDTHS, max((len(row[3]) for row in rows), default=0))
    for row in rows:
        columns = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        say("  ".join([*columns, row[-1]]))


def _row(photo: _Photo) -> tuple[str, ...]:
    mark = "  (damaged)" if photo.damaged else ""
    uploaded = photo.uploaded_at[:19].replace("T", " ")
    named = (photo.photo_id, photo.processing_status, uploaded, photo.client_id)
    return tuple(printable(text) for text in (*named, f"{photo.original_filename}{mark}"))
