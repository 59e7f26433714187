"""``photolog verify``"""

import anyio
import click
import msgspec

from ops import wiring
from ops.auditing import Audit, Progress, audit
from ops.commands.options import with_settings
from ops.errors import UserError
from ops.lines import printable
from ops.loading import Loaded
from ops.progress import progress_bar
from store.position import Position


@click.command()
@click.argument("photo_id", required=False)
@click.option(
    "--upto",
    metavar="POSITION",
    help="As of an earlier audit, to compare its anchor; of several partitions joined by commas.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@with_settings()
def command(loaded: Loaded, photo_id: str | None, upto: str | None, as_json: bool) -> None:
    """Check the hash chain of every photo, or of one, in the log.

    Needs the log alone: no gateway and no read model. The exit status is 1 if a chain is broken,
    or if the log does not reach as far as --upto.
    Note the anchor that is printed: a later audit up to the same position prints it again, unless
    somebody rewrote what was there.
    """
    ends = _positions(upto)

    async def run(progress: Progress) -> Audit:
        async with wiring.open_log(loaded.settings) as log:
            if ends is not None and ends.keys() != set(range(log.partitions)):
                raise UserError(f"--upto: name one position in each of {log.partitions} partitions")
            return await audit(log, only=photo_id, upto=ends, progress=progress)

    with progress_bar(quiet=as_json) as progress:
        found = anyio.run(run, progress)
    if photo_id is not None and found.events == 0:
        raise UserError(f"the log has no event of a photo {photo_id}")
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        _tell(found)
    if found.breaks or found.lost:
        raise click.exceptions.Exit(1)


def _positions(upto: str | None) -> dict[int, Position] | None:
    if upto is None:
        return None
    try:
        positions = [Position.parse(text) for text in upto.split(",")]
    except ValueError as error:
        raise UserError(f"--upto: {error}") from error
    return {position.partition: position for position in positions}


def _tell(found: Audit) -> None:
    for each in found.breaks:
        chain = printable(each.chain)
        click.echo(f"broken  {chain}  version {each.version} at {each.position}: {each.problem}")
    for position in found.lost:
        click.echo(f"lost    the log has no event at {position}: it ended there, or later")
    chains = len({each.chain for each in found.breaks})
    verdict = f"{chains:,} broken" if chains else "all whole"
    photos = "1 photo" if found.photos == 1 else f"{found.photos:,} photos"
    click.echo(f"{photos}, {found.events:,} events: {verdict}")
    click.echo(f"anchor {found.anchor}  up to {','.join(found.positions)}")
