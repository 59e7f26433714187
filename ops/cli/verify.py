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
from ops.event_format import plural, printable, say, say_json
from ops.maintenance.audit import UNKNOWN, Audit, Break, audit
from ops.maintenance.copied_log import lies_idle, serving_copy
from ops.maintenance.hashing import Hashed, check_files
from ops.maintenance.sealed_evidence import Evidence, compare
from ops.progress import progress_bar
from ops.runtime import wiring
from ops.runtime.blobs import open_reading
from store.archive.archive import Archive
from store.log.log import Log
from store.log.position import Position

_ANCHOR = re.compile("[0-9a-fA-F]{64}")


class UnknownPhoto(click.ClickException):
    """The log has no photo of that id: nothing is broken, so the exit status is not 1."""

    exit_code = 2


class _Report(Audit, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``matches`` says whether the log has the anchor of ``--anchor``; None without one.

    ``evidence`` is how the log differs from the archive; None if it does not.
    """

    matches: bool | None = None
    originals: Hashed | None = None
    evidence: Evidence | None = None


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

    Events that are sealed in the archive and still in Redis are compared, so one that was removed
    or changed since is named, with the segment that has it.

    This needs only the log, no gateway and no read model. It also works on the folder of a system
    that does not run, such as a backup. The exit status is 1 if a chain is broken, if an entry is
    not an event, if an event differs from the archive, if a segment is damaged, if the log has no
    event at --upto, or if the anchor up to there differs from --anchor. It is 2 if the log has no
    event of the photo.

    Note the anchor and the position that are printed, and for one photo also the digest of its last
    event. Give anchor and position to a later audit: the anchor stays the same unless the events
    before it have been rewritten. The anchor of one photo covers its chain alone: name the photo
    again to compare it.

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
    ends = positions(upto, "--upto")

    async def run() -> tuple[Audit, Evidence, Hashed | None]:
        async with opened_log(loaded.settings) as log:
            if ends is not None and ends.keys() != set(range(log.partitions)):
                raise UserError(
                    f"--upto: name one position in each of {plural(log.partitions, 'partition')}"
                )
            with progress_bar(quiet=as_json) as progress:
                found = await audit(log, only=photo_id, upto=ends, progress=progress)
            sealed = await compare(log, archive_of(log), only=photo_id, upto=ends)
            if photo_id is not None and found.events == 0 and not sealed.tampered:
                before = "" if upto is None else f" up to {printable(upto)}"
                raise UnknownPhoto(f"The log has no event of a photo {printable(photo_id)}{before}")
            return found, sealed, await _originals(log) if originals else None

    async def _originals(log: Log) -> Hashed:
        async with open_reading(loaded.settings) as blobs:
            with progress_bar(quiet=as_json) as progress:
                return await check_files(
                    log, blobs, only=photo_id, renditions=False, progress=progress
                )

    found, sealed, hashed = anyio.run(run)
    matches = None if anchor is None else found.anchor == anchor.lower()
    if as_json:
        evidence = None if sealed == Evidence() else sealed
        report = _Report(
            **msgspec.structs.asdict(found), matches=matches, originals=hashed, evidence=evidence
        )
        say_json(msgspec.json.encode(report))
    else:
        _tell(found, sealed, photo_id)
        _compare(found, anchor, photo_id)
        if hashed is not None:
            _tell_originals(hashed)
    well = hashed is None or hashed.well
    if found.breaks or found.lost or not sealed.well or matches is False or not well:
        raise click.exceptions.Exit(1)


@asynccontextmanager
async def opened_log(settings: Settings) -> AsyncGenerator[Log]:
    """Open the log; of a folder on which nothing runs, a copy of it."""
    async with AsyncExitStack() as stack:
        if lies_idle(settings):
            say(f"No Photolog runs on {settings.folder}: reading a copy of its log.", err=True)
            url = await stack.enter_async_context(serving_copy(settings))
            settings = msgspec.structs.replace(settings, redis_url=url)
        yield await stack.enter_async_context(wiring.open_log(settings))


def archive_of(log: Log) -> Archive:
    if not isinstance(log.archive, Archive):
        raise TypeError("the log was opened without its archive")
    return log.archive


def positions(given: str | None, option: str) -> dict[int, Position] | None:
    """Return the positions that the option names, by partition; raises UserError."""
    if given is None:
        return None
    try:
        found = [Position.parse(text) for text in given.split(",")]
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error
    return {position.partition: position for position in found}


def _tell(found: Audit, sealed: Evidence, photo_id: str | None) -> None:
    for each in found.breaks:
        say(f"broken  {_place(each)}: {each.problem}")
    for event in sealed.tampered:
        say(
            f"differs {event.position}, {event.type} of photo {event.chain or '–'}: "
            f"{event.problem}, as the archive shows ({event.segment})"
        )
    for problem in sealed.unusable:
        say(f"damaged {problem}")
    if sealed.unread is not None:
        say(f"not compared with the archive, which cannot be read: {sealed.unread}")
    for position in found.lost:
        say(
            f"lost    {position}: there is no event, "
            "so either it was removed or --upto differs from the noted position"
        )
    photos = "1 photo" if found.photos == 1 else f"{found.photos:,} photos"
    say(f"{photos}, {found.events:,} events: {_verdict(found, sealed)}")
    if found.anchor is not None:
        whose = "" if photo_id is None else "of this photo alone, "
        say(f"anchor {found.anchor}  {whose}up to {','.join(found.positions)}")
    if found.digest is not None:
        say(f"digest {found.digest}  of the photo's last event")


def _compare(found: Audit, noted: str | None, photo_id: str | None) -> None:
    """Print whether the log still has the anchor that was noted."""
    if noted is None or found.anchor is None:
        return
    if found.anchor != noted.lower():
        if photo_id is None:
            unless = "the anchor of one photo alone: name that photo too"
        else:
            unless = "the anchor of the whole log: name no photo then"
        say(f"noted  {noted}: the log has changed since then, unless this is {unless}")
        return
    newest = max(Position.parse(position).ms for position in found.positions)
    day = datetime.fromtimestamp(newest / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    say(f"matches the anchor noted up to {day}: no event until then was changed or removed")


def _tell_originals(found: Hashed) -> None:
    for line in found.lines():
        say(line)
    originals = "1 original" if found.files == 1 else f"{found.files:,} originals"
    if found.files == 0 and found.well:
        say("0 originals: there is no photo yet, or all are deleted")
        return
    verdict = found.verdict or "all as they were uploaded"
    say(f"{originals}, {found.size_bytes:,} bytes: {verdict}")


def _place(broken: Break) -> str:
    if broken.chain == UNKNOWN:
        return f"entry at {broken.position}"
    return f"{printable(broken.chain)}  version {broken.version} at {broken.position}"


def _verdict(found: Audit, sealed: Evidence) -> str:
    chains = len({each.chain for each in found.breaks} - {UNKNOWN})
    foreign = len({each.position for each in found.breaks if each.chain == UNKNOWN})
    verdict = [f"{chains:,} broken"] if chains else []
    if foreign:
        verdict.append(
            "1 entry of no photo" if foreign == 1 else f"{foreign:,} entries of no photo"
        )
    if found.lost:
        verdict.append("events are missing")
    if sealed.tampered:
        count = len(sealed.tampered)
        verb = "differs" if count == 1 else "differ"
        verdict.append(f"{plural(count, 'event')} {verb} from the archive")
    if sealed.unusable:
        verdict.append("the archive is damaged")
    return ", ".join(verdict) or "all intact"
