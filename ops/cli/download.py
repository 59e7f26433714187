"""``photolog download``"""

from collections import Counter
from pathlib import Path

import anyio
import click
import msgspec

from ops.cli.selecting import choosing_photos
from ops.cli.server import with_server
from ops.client.client import Server, connected
from ops.client.downloading import RENDITIONS, Downloaded, Outcome, Which, chosen, download
from ops.event_format import plural, printable, say, say_json


@click.command()
@choosing_photos
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="FOLDER",
    help="Where to put the files. Default: the current folder.",
)
@click.option(
    "--rendition",
    "which",
    type=click.Choice(RENDITIONS),
    default="original",
    show_default=True,
    help="Which picture: the original, the optimized one, or a thumbnail by its longest edge.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each photo.")
@with_server
def command(
    server: Server,
    photo_ids: tuple[str, ...],
    filters: dict[str, str],
    folder: Path,
    which: Which,
    as_json: bool,
) -> None:
    """Download photos into a folder.

    A download that was cut off continues where it stopped; a file that is there already is not
    sent again. Each file is compared with the SHA-256 in the log, and no other file is replaced.
    The exit status is 1 if a photo could not be downloaded.
    """
    counts: Counter[str] = Counter()

    def ended(outcome: Outcome) -> None:
        is_there = isinstance(outcome, Downloaded)
        kind = "failed" if not is_there else "already there" if outcome.already else "downloaded"
        counts[kind] += 1
        if as_json:
            say_json(msgspec.json.encode(outcome))
        elif isinstance(outcome, Downloaded):
            say(printable(f"{outcome.photo_id}  {outcome.path}"))
        else:
            say(printable(f"{outcome.photo_id}: {outcome.reason}"), err=True)

    async def run() -> None:
        async with connected(server.url, server.token) as client:
            photos, missing = await chosen(client, photo_ids, filters)
            for each in missing:
                ended(each)
            await download(client, photos, folder, which, ended=ended, waiting=_tell)

    anyio.run(run)
    if not as_json:
        said = ", ".join(plural(n, kind) for kind, n in sorted(counts.items()))
        say(said or "no such photos", err=True)
    if counts["failed"]:
        raise click.exceptions.Exit(1)


def _tell(reason: str) -> None:
    say(f"waiting: {printable(reason)}", err=True)
