"""``photolog photos``"""

from typing import get_args

import anyio
import click
import msgspec

from domain.photo.status import Status
from ops.cli.server import with_server
from ops.client.client import Server, connected
from ops.client.photo_list import pages
from ops.client.text_table import Layout, columns
from ops.event_format import printable, say, say_json

HEADINGS = ("Photo", "Status", "Uploaded (UTC)", "Client", "Name")
WIDTHS = (36, 10, 19)
"""The widths of the columns that are the same for every photo."""


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
@click.option("--limit", type=click.IntRange(min=1), help="List at most this many. Default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print each photo as one line of JSON.")
@with_server
def command(
    server: Server,
    status: str | None,
    session: str | None,
    owner: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List photos, newest first.

    Lists the client's own photos or, with --role operator or auditor, those of all clients.
    """
    given = {"status": status, "sessionId": session, "clientId": owner}
    filters = {name: value for name, value in given.items() if value is not None}

    async def run() -> None:
        async with connected(server.url, server.token) as client:
            first = True
            async for photos in pages(client, filters, limit):
                if as_json:
                    for photo in photos:
                        say_json(bytes(photo))
                else:
                    _tell([msgspec.json.decode(each, type=_Photo) for each in photos], first=first)
                first = False

    anyio.run(run)


def _tell(photos: list[_Photo], *, first: bool) -> None:
    """Print a line for each photo; the ``first`` page also prints headings, or that none exist."""
    if first and not photos:
        say("There are no such photos.")
        return
    rows = [_row(each) for each in photos]
    layout = Layout.of(HEADINGS, rows, columns(), WIDTHS)
    for row in [HEADINGS, *rows] if first else rows:
        for line in layout.lines(row):
            say(line)


def _row(photo: _Photo) -> tuple[str, ...]:
    mark = "  (damaged)" if photo.damaged else ""
    uploaded = photo.uploaded_at[:19].replace("T", " ")
    named = (photo.photo_id, photo.processing_status, uploaded, photo.client_id)
    return tuple(printable(text) for text in (*named, f"{photo.original_filename}{mark}"))
