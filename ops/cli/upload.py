"""``photolog upload``"""

import sys
from collections import Counter
from pathlib import Path

import anyio
import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ops.cli.server import with_server
from ops.client.client import Server, connected
from ops.client.finding import Failed, Found, find_files, readable
from ops.client.refusals import Refusals
from ops.client.uploading import NOT_YET, Outcome, Uploaded, Wish, upload
from ops.errors import UserError
from ops.event_format import plural, printable, say, say_json

FEW = 20
"""On a terminal, up to this many photos have a line each without ``--verbose``."""

UNFINISHED = "not processed yet"


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(path_type=Path))
@click.option(
    "--session", metavar="ID", help="Session of the photos; see `photolog watch session:ID`."
)
@click.option("--pipeline", help="full_processing (default) or quick_processing.")
@click.option("--priority", type=int, help="From 1 (first) to 10 (last). Default: 5.")
@click.option("--wait", is_flag=True, help="Wait until the photos are processed.")
@click.option(
    "--wait-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up when no photo has been processed for this long or, after a minute at most, when "
    "the server still asks to retry a photo later.",
)
@click.option(
    "--verbose",
    is_flag=True,
    help=f"List every photo with its id and its name, even more than {FEW}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each file.")
@with_server
def command(
    server: Server,
    paths: tuple[Path, ...],
    session: str | None,
    pipeline: str | None,
    priority: int | None,
    wait: bool,
    wait_timeout: float,
    verbose: bool,
    as_json: bool,
) -> None:
    """Upload photos: files and whole folders.

    Prints the ids of the photos, one a line; with --verbose or on a terminal, also their names. Of
    a folder, hidden files, files that are no photos, and data folders of Photolog are skipped. The
    exit status is 1 if a file failed or, with --wait, if a photo could not be processed, or not in
    time.
    """
    found = find_files(paths)
    if not found.files and not found.failed:
        raise UserError("; ".join([f"there is nothing to upload{_hidden(found)}", *found.notes()]))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    bar = Progress(
        *(TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()),
        *(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()),
        console=console,
        transient=True,
        disable=as_json or not console.is_terminal,
    )
    total = len(found.files) + len(found.failed)
    sending = bar.add_task(f"0 of {total}", total=found.size)
    counts: Counter[str] = Counter()
    damaged: Counter[str] = Counter()
    named = verbose or sys.stdout.isatty()
    listed = verbose or not named or total <= FEW
    lines: list[tuple[int, str]] = []
    order: dict[str, int] = {}
    for path, _ in found.files:
        order.setdefault(readable(path), len(order))
    waits, refusals = _Waits(console), Refusals()

    def ended(outcome: Outcome) -> None:
        waits.are_over()
        kind = _kind(outcome)
        counts[kind] += 1
        bar.update(sending, description=f"{counts.total()} of {total}")
        if isinstance(outcome, Uploaded) and outcome.damaged:
            damaged[kind] += 1
        if as_json:
            say_json(msgspec.json.encode(outcome))
        elif isinstance(outcome, Failed):
            console.print(refusals.line(outcome), style="red", markup=False)
        elif listed:
            line = _line(outcome) if named else printable(outcome.photo_id)
            lines.append((order[outcome.path], line))

    async def run() -> None:
        async with connected(server.url, server.token) as client:
            await client.get("/health/live")  # one clear error instead of one for each file
            await upload(
                client,
                found,
                Wish(session_id=session, pipeline=pipeline, priority=priority),
                advance=lambda size: bar.advance(sending, size),
                ended=ended,
                waiting=waits.tell,
                wait=wait,
                timeout_s=wait_timeout,
            )

    with bar:
        anyio.run(run)
    for _, line in sorted(lines):  # only now: the bar would treat them as its own output
        say(line)
    if not as_json:
        _tell_summary(found, counts, damaged)
    if counts["failed"] or counts[UNFINISHED]:
        raise click.exceptions.Exit(1)


class _Waits:
    """Prints why photos wait: each reason once, until a photo has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed = ""

    def tell(self, reason: str) -> None:
        if reason != self._printed:
            self._console.print(f"waiting: {printable(reason)}", style="yellow", markup=False)
        self._printed = reason

    def are_over(self) -> None:
        self._printed = ""


def _kind(outcome: Outcome) -> str:
    if isinstance(outcome, Failed):
        return UNFINISHED if outcome.code == NOT_YET else "failed"
    if outcome.duplicate:
        return "duplicate"
    return "processed" if outcome.status == "completed" else "uploaded"


def _line(photo: Uploaded) -> str:
    mark = "  (damaged)" if photo.damaged else ""
    return printable(f"{photo.photo_id}  {photo.path}{mark}")


def _tell_summary(found: Found, counts: Counter[str], damaged: Counter[str]) -> None:
    for note in found.notes():
        say(note, err=True)
    summary = [_counted(count, kind, damaged[kind]) for kind, count in sorted(counts.items())]
    say(f"{', '.join(summary)}{_hidden(found)}", err=True)


def _counted(count: int, kind: str, damaged: int) -> str:
    counted = plural(count, kind)
    return f"{counted}, {damaged:,} of them damaged" if damaged else counted


def _hidden(found: Found) -> str:
    return f"; {found.hidden} hidden skipped" if found.hidden else ""
