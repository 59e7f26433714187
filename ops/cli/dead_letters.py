"""``photolog dead-letters``: list, retry, discard."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import anyio
import click
import msgspec

from domain.pipeline.failures import LASTING
from ops.cli import skips
from ops.cli.confirm import confirm
from ops.cli.options import WithDefault, config_option, data_option, reason_option
from ops.cli.server import as_operator
from ops.client.client import Server, connected
from ops.client.operations import CHUNK, DeadLetter, Operations, Skipped
from ops.client.text_table import console, moment, table
from ops.event_format import plural, printable, say, say_json
from ops.progress import progress_bar

Function = TypeVar("Function", bound=Callable[..., Any])

CATEGORIES = ("temporary", "resource", "data", "logic", "security", "configuration")

HEADINGS = (
    *("Photo", "Client", "Stage", "Category"),
    *("Attempts", "First attempt (UTC)", "Last attempt (UTC)", "Why"),
)

LOOKED_AT = 1_000
"""The most dead letters of a category that are looked at before a retry."""


class Done(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The result for a selection of dead letters."""

    retried: int | None = None
    discarded: int | None = None
    skipped: list[Skipped]


def _filters(function: Function) -> Function:
    """Give the command ``filters``: stage, category and client of the dead letters."""

    @click.option("--stage", help="Only jobs that failed in this stage.")
    @click.option(
        "--category",
        type=click.Choice(CATEGORIES),
        help="Only jobs that failed with an error of this category.",
    )
    @click.option("--owner", metavar="ID", help="Only jobs of this client.")
    @functools.wraps(function)
    def command(
        *args: Any, stage: str | None, category: str | None, owner: str | None, **kwargs: Any
    ) -> Any:
        given = {"stage": stage, "category": category, "clientId": owner}
        filters = {name: value for name, value in given.items() if value is not None}
        return function(*args, filters=filters, **kwargs)

    return cast("Function", command)


@click.group(cls=WithDefault)
@config_option
@data_option
def command() -> None:
    """List the jobs that have failed for good; retry or discard them.

    Without a command: list.
    """


@command.command("list")
@_filters
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Show at most this many.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each as one line of JSON.")
@as_operator
def list_letters(server: Server, filters: dict[str, str], limit: int, as_json: bool) -> None:
    """Show the photos whose job has failed, the latest failure first.

    Attempts and their times are those of the last job of the photo: a retry is a new job.
    """

    async def run() -> list[bytes]:
        async with connected(server.url, server.token) as client:
            letters = Operations(client).dead_letters(limit, **filters)
            return [bytes(letter) async for letter in letters]

    letters = anyio.run(run)
    if as_json:
        for letter in letters:
            say_json(letter)
    elif letters:
        _tell([msgspec.json.decode(letter, type=DeadLetter) for letter in letters])
    else:
        say("There are no such dead letters." if filters else "There are no dead letters.")


@command.command("retry")
@click.argument("photo_ids", nargs=-1, metavar="[PHOTO_ID…]")
@_filters
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@click.option("--yes", is_flag=True, help="Do not ask before retrying all.")
@click.option(
    "--priority",
    type=click.IntRange(1, 10),
    help="From 1 (first) to 10 (last). Default: that of the failed job.",
)
@reason_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@as_operator
def retry(
    server: Server,
    photo_ids: tuple[str, ...],
    filters: dict[str, str],
    everything: bool,
    yes: bool,
    priority: int | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Retry failed jobs, beginning with the stage that failed.

    Name photos, a filter, or --all. The exit status is 1 if a photo that was named is skipped.
    """
    given = {"priority": priority, "reason": reason}
    wish = {name: value for name, value in given.items() if value is not None}
    selected = _selected(photo_ids, filters, everything=everything)
    total = len(photo_ids) or _count(server, everything=everything)
    if count := _lasting(server, photo_ids, filters):
        failures = "1 failure lies" if count == 1 else f"{count:,} failures lie"
        say(
            f"Note: {failures} in the bytes of the photo ({', '.join(LASTING)}) and will come "
            "back, unless the original was replaced or Photolog was upgraded since then.",
            err=True,
        )
    if total != 0:
        confirm(_question("Retry", photo_ids, filters, total), yes=yes or not everything)
    done = _sweep(server, "retry", [each | wish for each in selected], total, quiet=as_json)
    _end(done, as_json=as_json, named=bool(photo_ids))


@command.command("discard")
@click.argument("photo_ids", nargs=-1, metavar="[PHOTO_ID…]")
@_filters
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@click.option("--yes", is_flag=True, help="Do not ask before discarding.")
@click.option("--reason", required=True, help="Recorded in the history of each photo.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@as_operator
def discard(
    server: Server,
    photo_ids: tuple[str, ...],
    filters: dict[str, str],
    everything: bool,
    yes: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Discard failed jobs, so that they are no longer listed; the photos stay as they are.

    Name photos, a filter, or --all. The exit status is 1 if a photo that was named is skipped.
    """
    selected = _selected(photo_ids, filters, everything=everything)
    total = len(photo_ids) or _count(server, everything=everything)
    if total != 0:
        confirm(_question("Discard", photo_ids, filters, total), yes=yes)
    wishes = [each | {"reason": reason} for each in selected]
    done = _sweep(server, "discard", wishes, total, quiet=as_json)
    _end(done, as_json=as_json, named=bool(photo_ids))


def _selected(
    photo_ids: tuple[str, ...], filters: dict[str, str], *, everything: bool
) -> list[dict[str, Any]]:
    """Return what each call selects: a chunk of the photos, or all that match the filter."""
    given = sum((bool(photo_ids), bool(filters), everything))
    if given == 0:
        raise click.UsageError(
            "Nothing is selected. Name photos, or give --stage, --category or --owner, or --all."
        )
    if given > 1:
        raise click.UsageError(
            "Named photos, filters (--stage, --category, --owner) and --all exclude each other: "
            "use one of them."
        )
    if photo_ids:
        starts = range(0, len(photo_ids), CHUNK)
        return [{"photoIds": photo_ids[start : start + CHUNK]} for start in starts]
    return [{"all": True}] if everything else [filters]


def _question(
    verb: str, photo_ids: tuple[str, ...], filters: dict[str, str], total: int | None
) -> str:
    if photo_ids:
        return f"{verb} {plural(len(photo_ids), 'dead letter')}?"
    if filters:
        chosen = ", ".join(f"{name} {value}" for name, value in filters.items())
        return f"{verb} all dead letters with {printable(chosen)}?"
    every = "" if total == 1 else "all "
    return f"{verb} {every}{plural(total or 0, 'dead letter')}?"


def _count(server: Server, *, everything: bool) -> int | None:
    """Return the number of all dead letters; None for a filter, whose matches are not counted."""
    if not everything:
        return None

    async def run() -> int:
        async with connected(server.url, server.token) as client:
            return (await Operations(client).queues()).dead_letters

    return anyio.run(run)


def _lasting(server: Server, photo_ids: tuple[str, ...], filters: dict[str, str]) -> int:
    """Return how many of the selected failures, among the newest, lie in the bytes of the photo."""
    categories = [each for each in LASTING if filters.get("category", each) == each]

    async def run() -> int:
        count = 0
        async with connected(server.url, server.token) as client:
            for category in categories:
                wish = filters | {"category": category}
                async for each in Operations(client).dead_letters(LOOKED_AT, **wish):
                    letter = msgspec.json.decode(each, type=DeadLetter)
                    count += not photo_ids or letter.photo_id in photo_ids
        return count

    return anyio.run(run) if categories else 0


def _sweep(
    server: Server, what: str, wishes: list[dict[str, Any]], total: int | None, *, quiet: bool
) -> Done:
    number, skipped = 0, list[Skipped]()
    wishes = [] if total == 0 else wishes  # nobody was asked about those that come now

    async def run(show: Callable[[int, int | None], None]) -> None:
        nonlocal number
        async with connected(server.url, server.token) as client:
            async for swept in Operations(client).sweep(what, wishes):
                number += swept.done
                skipped.extend(swept.skipped)
                show(number + len(skipped), total)

    with progress_bar(quiet=quiet) as show:
        show(0, total)
        anyio.run(run, show)
    if what == "retry":
        return Done(retried=number, skipped=skipped)
    return Done(discarded=number, skipped=skipped)


def _end(done: Done, *, as_json: bool, named: bool) -> None:
    if as_json:
        say_json(msgspec.json.encode(done))
    elif not (done.retried or done.discarded or done.skipped):
        say("There are no such dead letters.")
    else:
        kind = "discarded" if done.retried is None else "retried"
        counts = [f"{done.retried or done.discarded or 0:,} {kind}"]
        if not named:  # otherwise each is named with its code
            counts += skips.counted(each.code for each in done.skipped)
        elif done.skipped:
            counts.append(f"{len(done.skipped):,} skipped")
        say(", ".join(counts))
        for each in done.skipped if named else ():
            say(f"{printable(each.photo_id)}: {skips.why(each.code)}", err=True)
    if named and done.skipped:
        raise click.exceptions.Exit(1)


def _tell(letters: list[DeadLetter]) -> None:
    console().print(table(HEADINGS, [_row(letter) for letter in letters]))


def _row(letter: DeadLetter) -> tuple[object, ...]:
    first, last = moment(letter.first_failed_at), moment(letter.last_failed_at)
    named = (letter.photo_id, letter.client_id, letter.stage, letter.category)
    return (*named, letter.attempts, first, last, f"{letter.code}: {letter.error}")
