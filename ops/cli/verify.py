"""``photolog verify``"""

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import anyio
import click
import msgspec

from ops.cli.options import with_settings
from ops.config.loading import Loaded
from ops.config.settings import Settings
from ops.errors import UserError
from ops.event_format import printable, say, say_json
from ops.maintenance.audit import UNKNOWN, Audit, Break, audit
from ops.maintenance.copied_log import lies_idle, serving_copy
from ops.maintenance.hashing import Hashed, check_files
from ops.progress import progress_bar
from ops.runtime import wiring
from ops.runtime.blobs import open_reading
from store.log.log import Log
from store.log.position import Position

_ANCHOR = re.compile("[0-9a-fA-F]{64}")


class UnknownPhoto(click.ClickException):
    """The log has no photo of that id: nothing is broken, so the exit status is not 1."""

    exit_code = 2


class _Report(Audit, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``matches`` says whether the log has the anchor of ``--anchor``; None without one."""

    matches: bool | None = None
    originals: Hashed | None = None


@click.command()
@click.argument("photo_id", required=False)
@click.option(
    "--upto",
    metavar="POSITION",
    help="Check up to the position of an earlier audit; those of several partitions with commas.",
)
@click.option(
    "--anchor",
    metavar="SHA256",
    help="Anchor of the earlier audit, with its position as --upto; exit status 1 if it differs.",
)
@click.option(
    "--originals",
    is_flag=True,
    help="Also read every original and compare its SHA-256 with the log.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings()
def command(
    loaded: Loaded,
    photo_id: str | None,
    upto: str | None,
    anchor: str | None,
    originals: bool,
    as_json: bool,
) -> None:
    """Check the hash chain of every photo, or of one, in the log.

    This needs only the log, no gateway and no read model. It also works on the folder of a system
    that does not run, such as a backup. The exit status is 1 if a chain is broken, if an entry is
    not an event, if the log has no event at --upto, or if the anchor up to there differs from
    --anchor. It is 2 if the log has no event of the photo.

    Note the anchor and the position that are printed, and give both to a later audit: the anchor
    stays the same unless the events before it have been rewritten.

    With --originals the exit status is also 1 if an original is missing, cannot be read, or differs
    from what was uploaded; each one is named. This reads all originals, which may take long.
    Deleted photos have none. `photolog reconcile --hash` also reads the renditions.
    """
    if anchor is not None and upto is None:
        raise click.UsageError("--anchor needs --upto: an anchor belongs to a position.")
    if anchor is not None and not _ANCHOR.fullmatch(anchor):
        raise click.UsageError(
            f"--anchor: an anchor has 64 hexadecimal digits (got {printable(anchor)})."
        )
    ends = _positions(upto)

    async def run() -> tuple[Audit, Hashed | None]:
        async with _opened_log(loaded.settings) as log:
            if ends is not None and ends.keys() != set(range(log.partitions)):
                raise UserError(f"--upto: name one position in each of {log.partitions} partitions")
            with progress_bar(quiet=as_json) as progress:
                found = await audit(log, only=photo_id, upto=ends, progress=progress)
            if photo_id is not None and found.events == 0:
                raise UnknownPhoto(f"The log has no event of a photo {printable(photo_id)}")
            return found, await _originals(log) if originals else None

    async def _originals(log: Log) -> Hashed:
        async with open_reading(loaded.settings) as blobs:
            with progress_bar(quiet=as_json) as progress:
                return await check_files(
                    log, blobs, only=photo_id, renditions=False, progress=progress
                )

    found, hashed = anyio.run(run)
    matches = None if anchor is None else found.anchor == anchor.lower()
    if as_json:
        report = _Report(**msgspec.structs.asdict(found), matches=matches, originals=hashed)
        say_json(msgspec.json.encode(report))
    else:
        _tell(found)
        _compare(found, anchor)
        if hashed is not None:
            _tell_originals(hashed)
    well = hashed is None or hashed.well
    if found.breaks or found.lost or matches is False or not well:
        raise click.exceptions.Exit(1)


@asynccontextmanager
async def _opened_log(settings: Settings) -> AsyncGenerator[Log]:
    async with AsyncExitStack() as stack:
        if lies_idle(settings):
            say(f"No Photolog runs on {settings.folder}: reading a copy of its log.", err=True)
            url = await stack.enter_async_context(serving_copy(settings))
            settings = msgspec.structs.replace(settings, redis_url=url)
        yield await stack.enter_async_context(wiring.open_log(settings))


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
        say(f"broken  {_place(each)}: {each.problem}")
    for position in found.lost:
        say(
            f"lost    {position}: there is no event, "
            "so either it was removed or --upto differs from the noted position"
        )
    photos = "1 photo" if found.photos == 1 else f"{found.photos:,} photos"
    say(f"{photos}, {found.events:,} events: {_verdict(found)}")
    if found.anchor is not None:
        say(f"anchor {found.anchor}  up to {','.join(found.positions)}")


def _compare(found: Audit, noted: str | None) -> None:
    """Print whether the log still has the anchor that was noted."""
    if noted is None or found.anchor is None:
        return
    if found.anchor != noted.lower():
        say(f"noted  {noted}: the log has changed since then")
        return
    newest = max(Position.parse(position).ms for position in found.positions)
    day = datetime.fromtimestamp(newest / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    say(f"matches the anchor noted up to {day}: no event until then was changed or removed")


def _tell_originals(found: Hashed) -> None:
    for line in found.lines():
        say(line)
    originals = "1 original" if found.files == 1 else f"{found.files:,} originals"
    verdict = found.verdict or "all as they were uploaded"
    say(f"{originals}, {found.size_bytes:,} bytes: {verdict}")


def _place(broken: Break) -> str:
    if broken.chain == UNKNOWN:
        return f"entry at {broken.position}"
    return f"{printable(broken.chain)}  version {broken.version} at {broken.position}"


def _verdict(found: Audit) -> str:
    chains = len({each.chain for each in found.breaks} - {UNKNOWN})
    foreign = len({each.position for each in found.breaks if each.chain == UNKNOWN})
    verdict = [f"{chains:,} broken"] if chains else []
    if foreign:
        verdict.append(
            "1 entry of no photo" if foreign == 1 else f"{foreign:,} entries of no photo"
        )
    if found.lost:
        verdict.append("events are missing")
    return ", ".join(verdict) or "all intact"
