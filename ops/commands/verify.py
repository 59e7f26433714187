"""``photolog verify``"""

from contextlib import AsyncExitStack

import anyio
import click
import msgspec

from ops import wiring
from ops.auditing import UNKNOWN, Audit, Break, Progress, audit
from ops.commands.options import with_settings
from ops.copied_log import lies_idle, serving_copy
from ops.errors import UserError
from ops.lines import printable, say, say_json
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
@click.option(
    "--anchor",
    metavar="SHA256",
    help="That of the earlier audit, with its position as --upto: exit status 1 if it is another.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@with_settings()
def command(
    loaded: Loaded, photo_id: str | None, upto: str | None, anchor: str | None, as_json: bool
) -> None:
    """Check the hash chain of every photo, or of one, in the log.

    Needs the log alone: no gateway and no read model, and of a folder on which nothing runs, as a
    backup, only its file. The exit status is 1 if a chain is broken,
    if the log has no event at --upto, or if what it has up to there has another anchor.
    Note the anchor and the position that are printed, and give both to a later audit: the anchor is
    the same again, unless somebody rewrote what was there.
    """
    if anchor is not None and upto is None:
        raise click.UsageError("--anchor needs --upto: an anchor is that of a position.")
    ends = _positions(upto)

    async def run(progress: Progress) -> Audit:
        async with AsyncExitStack() as stack:
            settings = loaded.settings
            if lies_idle(settings):
                say(f"Nothing runs on {settings.folder}: a copy of its log is read.", err=True)
                url = await stack.enter_async_context(serving_copy(settings))
                settings = msgspec.structs.replace(settings, redis_url=url)
            log = await stack.enter_async_context(wiring.open_log(settings))
            if ends is not None and ends.keys() != set(range(log.partitions)):
                raise UserError(f"--upto: name one position in each of {log.partitions} partitions")
            return await audit(log, only=photo_id, upto=ends, progress=progress)

    with progress_bar(quiet=as_json) as progress:
        found = anyio.run(run, progress)
    if photo_id is not None and found.events == 0:
        raise UserError(f"the log has no event of a photo {photo_id}")
    differs = anchor is not None and found.anchor != anchor.lower()
    if as_json:
        say_json(msgspec.json.encode(found))
    else:
        _tell(found, noted=anchor if differs else None)
    if found.breaks or found.lost or differs:
        raise click.exceptions.Exit(1)


def _positions(upto: str | None) -> dict[int, Position] | None:
    if upto is None:
        return None
    try:
        positions = [Position.parse(text) for text in upto.split(",")]
    except ValueError as error:
        raise UserError(f"--upto: {error}") from error
    return {position.partition: position for position in positions}


def _tell(found: Audit, *, noted: str | None) -> None:
    """``noted`` is an anchor that the log should have, and has not."""
    for each in found.breaks:
        say(f"broken  {_place(each)}: {each.problem}")
    for position in found.lost:
        say(
            f"lost    {position}: no event stands there, "
            "so it was taken away, or --upto is not what was noted"
        )
    photos = "1 photo" if found.photos == 1 else f"{found.photos:,} photos"
    say(f"{photos}, {found.events:,} events: {_verdict(found)}")
    if found.anchor is not None:
        say(f"anchor {found.anchor}  up to {','.join(found.positions)}")
        if noted is not None:
            say(f"noted  {noted}: the log is not what it was")


def _place(broken: Break) -> str:
    if broken.chain == UNKNOWN:
        return f"entry at {broken.position}"
    return f"{printable(broken.chain)}  version {broken.version} at {broken.position}"


def _verdict(found: Audit) -> str:
    chains = len({each.chain for each in found.breaks} - {UNKNOWN})
    of_none = len({each.position for each in found.breaks if each.chain == UNKNOWN})
    said = [f"{chains:,} broken"] if chains else []
    if of_none:
        said.append("1 entry of no photo" if of_none == 1 else f"{of_none:,} entries of no photo")
    if found.lost:
        said.append("not all that was there")
    return ", ".join(said) or "all whole"
