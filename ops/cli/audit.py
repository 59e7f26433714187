"""``photolog audit``"""

from typing import Any

import anyio
import click
import msgspec

from ops.cli.server import as_operator
from ops.client.client import Server, connected
from ops.client.operations import Operations
from ops.client.queues import Answer
from ops.client.text_table import console, moment, table
from ops.event_format import Shown, say, say_json
from ops.event_format import what as what_of


class _Entry(Answer, frozen=True, kw_only=True):
    time: str
    actor: str
    what: str
    stage: str | None
    photo_id: str | None
    client_id: str | None
    reason: str | None
    data: dict[str, Any]

    @property
    def target(self) -> str | None:
        """Return what it was done to, with all values that were set, but without the reason."""
        data = self.data | {"reason": None}
        shown = Shown(id="", type=self.what, timestamp=self.time, data=data, metadata={})
        if self.photo_id is None:
            return what_of(shown) or None
        client = f"client {self.client_id}" if self.client_id else None
        parts = (self.photo_id, client, what_of(shown))
        return ", ".join(each for each in parts if each)


@click.command()
@click.option("--actor", metavar="NAME", help="Only what this one did, such as operator:alice.")
@click.option("--what", metavar="TYPE", help="Only this type of event, such as pipeline.paused.")
@click.option("--stage", help="Only what was done to this stage.")
@click.option("--photo", metavar="ID", help="Only what was done to this photo.")
@click.option("--owner", metavar="ID", help="Only what concerns this client.")
@click.option("--from", "since", metavar="TIME", help="Only what was done then or later.")
@click.option("--to", "until", metavar="TIME", help="Only what was done before this time.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Show at most this many.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each as one line of JSON.")
@as_operator
def command(
    server: Server,
    actor: str | None,
    what: str | None,
    stage: str | None,
    photo: str | None,
    owner: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List what operators did, when, to what and why; the newest first.

    What clients do to their own photos, and alerts, are not listed: see `photolog history`.
    """
    filters = {"actor": actor, "what": what, "stage": stage, "photoId": photo}
    filters |= {"clientId": owner, "from": since, "to": until}

    async def run() -> list[bytes]:
        async with connected(server.url, server.token) as client:
            found = Operations(client).items("audit", limit, filters, under="/api/")
            return [bytes(each) async for each in found]

    found = anyio.run(run)
    if as_json:
        for each in found:
            say_json(each)
    elif not found:
        say(_nothing(actor, filters))
    else:
        entries = [msgspec.json.decode(each, type=_Entry) for each in found]
        rows = [(moment(x.time), x.actor, x.what, x.target, x.reason) for x in entries]
        console().print(table(("Time (UTC)", "Actor", "What", "To what", "Reason"), rows))


def _nothing(actor: str | None, filters: dict[str, str | None]) -> str:
    if not any(filters.values()):
        return "There are no entries yet."
    hint = "" if actor is None else " An actor is a role and a name, such as operator:alice."
    return f"There are no entries that match.{hint}"
