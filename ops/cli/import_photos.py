"""``photolog import``"""

from collections import Counter
from pathlib import Path

import anyio
import click
import httpx
import msgspec

from ops.cli.server import with_server
from ops.client.client import Server, checked, connected
from ops.client.finding import Failed
from ops.client.import_ledger import default_path, opened
from ops.client.importing import (
    DELETED,
    REFUSED_STATUS,
    Importer,
    Outcome,
    Pause,
    Present,
    Skipped,
    Told,
)
from ops.client.refusals import Refusals
from ops.client.uploading import Uploaded, Wish
from ops.event_format import plural, printable, say, say_json


class _Identity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    client_id: str


class _Me(msgspec.Struct, frozen=True, kw_only=True):
    identity: _Identity


@click.command()
@click.argument(
    "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER"
)
@click.option("--watch", is_flag=True, help="Keep looking for new files until Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="With --watch, how often to look.",
)
@click.option(
    "--settle",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="A file must not change for this long before it is sent.",
)
@click.option("--session", metavar="ID", help="Session of the photos.")
@click.option("--pipeline", help="full_processing (default) or quick_processing.")
@click.option("--priority", type=int, help="From 1 (first) to 10 (last). Default: 5.")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Remembers hashes and photos. Default: photolog/imports.sqlite in $XDG_STATE_HOME or "
    "~/.local/state.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each file.")
@with_server
def command(
    server: Server,
    folder: Path,
    watch: bool,
    every: float,
    settle: float,
    session: str | None,
    pipeline: str | None,
    priority: int | None,
    ledger: Path | None,
    as_json: bool,
) -> None:
    """Upload the photos of a folder and of the folders in it, each once.

    The server is asked what it has, so a second run sends only what it lacks, but not photos that
    an earlier run with the same --ledger has sent and that you have deleted there. Nothing is ever
    deleted, here or there: if the folder vanishes, such as a card that is pulled out, --watch waits
    for it. Hidden files, files that are no photos, and data folders of Photolog are skipped.
    Without --watch, the exit status is 1 if a photo was refused or not uploaded.
    """
    counts: Counter[str] = Counter()
    waits = _Waits()
    refusals = Refusals()

    def ended(outcome: Outcome) -> None:
        waits.are_over()
        counts[_kind(outcome)] += 1
        if as_json:
            say_json(msgspec.json.encode(outcome))
        elif isinstance(outcome, Uploaded):
            say(printable(f"{outcome.photo_id}  {outcome.path}"))
        elif isinstance(outcome, Failed):
            say(refusals.line(outcome), err=True)

    def noted(note: str) -> None:
        if not as_json:
            say(note, err=True)

    async def run() -> None:
        async with connected(server.url, server.token) as client:
            with opened(ledger or default_path(), server.url, await _client(client)) as known:
                importer = Importer(
                    *(client, folder, known),
                    Wish(session_id=session, pipeline=pipeline, priority=priority),
                    Pause(settle_s=settle, every_s=every),
                    Told(ended=ended, waiting=waits.tell, noted=noted),
                )
                if watch:
                    say(f"Watching {printable(folder)}; stop with Ctrl-C.", err=True)
                    await importer.watch()
                else:
                    await importer.once()

    try:
        anyio.run(run)
    finally:
        if not as_json:
            told = [plural(count, kind) for kind, count in sorted(counts.items())]
            say(", ".join(told) or "nothing to import", err=True)
    if counts["failed"] or counts[REFUSED_STATUS]:
        raise click.exceptions.Exit(1)


def _kind(outcome: Outcome) -> str:
    match outcome:
        case Uploaded(duplicate=duplicate):
            return "duplicate" if duplicate else "uploaded"
        case Present(status=status):
            return "deleted on the server" if status == DELETED else status
        case Failed(status=status) | Skipped(status=status):
            return status


async def _client(client: httpx.AsyncClient) -> str:
    answer = checked(await client.get("/api/me"))
    return msgspec.json.decode(answer.content, type=_Me).identity.client_id


class _Waits:
    """Prints why files wait: each reason once, until a file was sent."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def tell(self, reason: str) -> None:
        if reason not in self._printed:
            say(f"waiting: {printable(reason)}", err=True)
        self._printed.add(reason)

    def are_over(self) -> None:
        self._printed.clear()
