"""``photolog sessions``: list, show, open, close, retry."""

from typing import Any
from urllib.parse import quote

import anyio
import click
import httpx
import msgspec

from ops.cli import skips
from ops.cli.options import WithDefault, config_option, data_option, reason_option
from ops.cli.server import with_server
from ops.client.client import Server, checked, connected
from ops.client.operations import Listed, Swept
from ops.client.queues import Answer
from ops.client.text_table import console, moment, table
from ops.event_format import printable, say, say_json

STATUSES = ("open", "closed", "expired")

PAGE = 50


class _Session(Answer, frozen=True, kw_only=True):
    session_id: str
    client_id: str
    status: str
    expected: int | None
    received: int
    duplicates: int
    queued: int
    processing: int
    completed: int
    failed: int
    opened_at: str


class _Failure(Answer, frozen=True, kw_only=True):
    photo_id: str
    original_filename: str
    stage: str | None
    error: str | None


class _Failures(Answer, frozen=True, kw_only=True):
    failures: list[_Failure]


@click.group(cls=WithDefault)
@config_option
@data_option
def command() -> None:
    """List, show, open and close upload sessions; retry what failed in one.

    Without a command: list.
    """


@command.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only sessions with this status.")
@click.option("--owner", metavar="ID", help="Only sessions of this client.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="List at most this many.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each as one line of JSON.")
@with_server
def show_sessions(
    server: Server, status: str | None, owner: str | None, limit: int, as_json: bool
) -> None:
    """List sessions, the newest first.

    Lists the client's own or, with --role operator or auditor, those of all clients.
    """
    given = {"status": status, "clientId": owner}
    filters = {name: value for name, value in given.items() if value is not None}

    async def run() -> list[bytes]:
        async with connected(server.url, server.token) as client:
            return await _pages(client, filters, limit)

    found = anyio.run(run)
    if as_json:
        for each in found:
            say_json(each)
        return
    if not found:
        say("There are no such sessions.")
        return
    rows = [_row(msgspec.json.decode(each, type=_Session)) for each in found]
    headings = ("Session", "Status", "Opened (UTC)", "Client", "Uploads", "Dupl.", "Done", "Failed")
    console().print(table(headings, rows))


@command.command()
@click.argument("session_id")
@click.option("--owner", metavar="ID", help="Client of the session, for operators and auditors.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@with_server
def show(server: Server, session_id: str, owner: str | None, as_json: bool) -> None:
    """Show what was uploaded in a session, and what failed."""
    found = anyio.run(_ask, server, "GET", _path(session_id), None, owner)
    if as_json:
        say_json(found)
        return
    each = msgspec.json.decode(found, type=_Session)
    sent = each.received + each.duplicates
    known = "a photo that was there" if each.duplicates == 1 else "photos that were there"
    expected = f" of {each.expected:,} expected" if each.expected is not None else ""
    for name, value in (
        ("session", f"{each.session_id} of {each.client_id}, {each.status}"),
        ("uploads", f"{sent:,}{expected}, {each.duplicates:,} of {known} already"),
        ("waiting", f"{each.queued:,} queued, {each.processing:,} in processing"),
        ("done", f"{each.completed:,} completed, {each.failed:,} failed"),
    ):
        say(f"{name:<9} {printable(value)}")
    for failure in msgspec.json.decode(found, type=_Failures).failures:
        why = f"{failure.stage or 'discarded'}: {failure.error or ''}"
        say(printable(f"failed    {failure.photo_id}  {failure.original_filename}  {why}"))


@command.command("open")
@click.argument("session_id")
@click.option("--expected", type=click.IntRange(1, 1_000_000), help="Photos to be uploaded.")
@with_server
def open_session(server: Server, session_id: str, expected: int | None) -> None:
    """Open a session before the first upload, or change how many photos it expects."""
    body = {"status": "open", "expected": expected}
    anyio.run(_ask, server, "PUT", _path(session_id), body, None)
    say("The session is open.")


@command.command()
@click.argument("session_id")
@click.option("--owner", metavar="ID", help="Client of the session, for operators.")
@reason_option
@with_server
def close(server: Server, session_id: str, owner: str | None, reason: str | None) -> None:
    """Close a session for good: it takes no more uploads."""
    body = {"status": "closed", "reason": reason}
    anyio.run(_ask, server, "PUT", _path(session_id), body, owner)
    say("The session is closed.")


@command.command()
@click.argument("session_id")
@click.option("--owner", metavar="ID", help="Client of the session, for operators.")
@reason_option
@with_server
def retry(server: Server, session_id: str, owner: str | None, reason: str | None) -> None:
    """Retry all photos of a session that failed."""
    wish = {"sessionId": session_id, "clientId": owner, "reason": reason}

    async def run() -> tuple[int, list[str]]:
        retried, skipped, cursor = 0, list[str](), None
        async with connected(server.url, server.token) as client:
            while True:
                response = await client.post("/api/photos/retry", json={**wish, "cursor": cursor})
                swept = msgspec.json.decode(checked(response).content, type=Swept)
                retried += swept.retried
                skipped += [each.code for each in swept.skipped]
                cursor = swept.next_cursor
                if cursor is None:
                    return retried, skipped

    retried, skipped = anyio.run(run)
    if retried or skipped:
        say(", ".join([f"{retried:,} retried", *skips.counted(skipped)]))
    else:
        say("There is nothing to retry: no photo of this session has failed.")


async def _ask(server: Server, method: str, path: str, body: Any, owner: str | None) -> bytes:
    params = {} if owner is None else {"clientId": owner}
    async with connected(server.url, server.token) as client:
        return checked(await client.request(method, path, json=body, params=params)).content


async def _pages(client: httpx.AsyncClient, filters: dict[str, str], most: int) -> list[bytes]:
    found: list[bytes] = []
    cursor: str | None = None
    while len(found) < most:
        asked = {**filters, "limit": min(PAGE, most - len(found))}
        if cursor is not None:
            asked["cursor"] = cursor
        response = await client.get("/api/sessions", params=asked)
        page = msgspec.json.decode(checked(response).content, type=Listed)
        found += [bytes(each) for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def _path(session_id: str) -> str:
    return f"/api/sessions/{quote(session_id, safe='')}"


def _row(each: _Session) -> tuple[Any, ...]:
    sent = each.received + each.duplicates
    uploads = f"{sent:,}" + (f" of {each.expected:,}" if each.expected else "")
    return (
        each.session_id,
        each.status,
        moment(each.opened_at),
        each.client_id,
        uploads,
        each.duplicates,
        each.completed,
        each.failed,
    )
