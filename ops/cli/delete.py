"""``photolog delete``"""

from collections import Counter
from typing import Literal
from urllib.parse import quote

import anyio
import click
import httpx
import msgspec

from ops.cli.confirm import confirm, yes_option
from ops.cli.selecting import choosing_photos
from ops.cli.server import with_server
from ops.client.client import Problem, Server, connected
from ops.client.photo_list import pages
from ops.client.retry import BUSY, Retry
from ops.errors import UserError
from ops.event_format import plural, printable, say, say_json

NOT_FOUND = 404


class _Photo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    photo_id: str


class _Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The outcome for one photo; ``code`` is the problem of one that was not deleted."""

    photo_id: str
    outcome: Literal["deleted", "failed"]
    code: str | None = None
    reason: str | None = None


@click.command()
@choosing_photos
@yes_option
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each photo.")
@with_server
def command(
    server: Server,
    photo_ids: tuple[str, ...],
    filters: dict[str, str],
    yes: bool,
    as_json: bool,
) -> None:
    """Delete photos: their originals and every picture made from them.

    Asks first. Prints the result for each photo; the exit status is 1 if one was not deleted.
    """
    counts: Counter[str] = Counter()

    def ended(result: _Result) -> None:
        counts[result.outcome] += 1
        if as_json:
            say_json(msgspec.json.encode(result))
        elif result.reason:
            say(printable(f"{result.photo_id}: {result.reason}"), err=True)
        else:
            say(printable(f"{result.photo_id}  deleted"))

    if photo_ids:
        ids, missing = anyio.run(_there, server, tuple(dict.fromkeys(photo_ids)))
        for each in missing:
            ended(each)
    else:
        ids = anyio.run(_chosen, server, filters)
    if ids:
        them = plural(len(ids), "photo")
        confirm(f"Delete {them}, with all {'its' if len(ids) == 1 else 'their'} files?", yes=yes)
    elif not photo_ids:
        raise UserError("there are no such photos")

    async def run() -> None:
        async with connected(server.url, server.token) as client:
            for photo_id in ids:
                ended(await _delete(client, photo_id))

    anyio.run(run)
    if not as_json:
        say(", ".join(plural(n, outcome) for outcome, n in sorted(counts.items())), err=True)
    if counts["failed"]:
        raise click.exceptions.Exit(1)


async def _chosen(server: Server, filters: dict[str, str]) -> tuple[str, ...]:
    async with connected(server.url, server.token) as client:
        return tuple(
            [
                msgspec.json.decode(each, type=_Photo).photo_id
                async for page in pages(client, filters)
                for each in page
            ]
        )


async def _there(
    server: Server, photo_ids: tuple[str, ...]
) -> tuple[tuple[str, ...], list[_Result]]:
    """Return the photos that exist, and a result for each of the others.

    A photo that is gone counts as there if its history tells so: deleting it again is no error.
    """
    there: list[str] = []
    missing: list[_Result] = []
    async with connected(server.url, server.token) as client:
        for photo_id in photo_ids:
            response = await client.get(
                f"/api/photos/{quote(photo_id, safe='')}/history", params={"limit": 1}
            )
            if response.status_code == NOT_FOUND:
                missing.append(_failed(photo_id, response))
            else:
                there.append(photo_id)
    return tuple(there), missing


async def _delete(client: httpx.AsyncClient, photo_id: str) -> _Result:
    retry = Retry()
    while True:
        try:
            response = await client.delete(f"/api/photos/{quote(photo_id, safe='')}")
        except httpx.TransportError as error:
            await retry.after_loss(error)
            continue
        if response.status_code not in BUSY or not await retry.after_busy(response):
            break
    if response.is_success:
        return _Result(photo_id=photo_id, outcome="deleted")
    return _failed(photo_id, response)


def _failed(photo_id: str, response: httpx.Response) -> _Result:
    problem = Problem.of(response)
    return _Result(photo_id=photo_id, outcome="failed", code=problem.code, reason=str(problem))
