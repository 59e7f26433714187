"""``photolog reconcile``"""

import os
import uuid
from datetime import UTC, datetime

import anyio
import click
import msgspec

from domain.photo.events import Context
from ops.cli.options import with_settings
from ops.config.loading import Loaded
from ops.config.validation import check
from ops.errors import UserError
from ops.event_format import say, say_json
from ops.maintenance import log_ownership
from ops.maintenance.hashing import Hashed, check_files
from ops.maintenance.reconcile import Comparison, compare, record_removed, remove, tell_health
from ops.progress import progress_bar
from ops.runtime import wiring
from ops.runtime.blobs import open_reading, open_store
from ops.runtime.tokens import parse_ttl

REPAIR = """\
To repair an original, upload the same bytes again or restore the file from a backup. To repair a
rendition, reprocess its photo (`POST /api/photos/PHOTO/reprocess`, or the page)."""


class _Report(Comparison, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``hashed`` is the result of reading every file; None without ``--hash``."""

    hashed: Hashed | None = None


@click.command()
@click.option("--remove", "removing", is_flag=True, help="Delete the files that no event names.")
@click.option(
    "--orphaned",
    "orphans",
    is_flag=True,
    help="With --remove: also delete originals whose upload may have been confirmed.",
)
@click.option(
    "--superseded",
    is_flag=True,
    help="With --remove: also delete renditions that a later job has replaced.",
)
@click.option(
    "--older-than",
    default="1h",
    show_default=True,
    help="Skip younger files, which may be about to be recorded: 30m, 12h, 2d.",
)
@click.option(
    "--hash",
    "hashing",
    is_flag=True,
    help="Also read every file that an event names, and compare its SHA-256 with the event's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings()
def command(
    loaded: Loaded,
    removing: bool,
    orphans: bool,
    superseded: bool,
    older_than: str,
    hashing: bool,
    as_json: bool,
) -> None:
    """Compare the stored files with the log, in both directions.

    Reports files that no event names, which a crash may leave behind, and files that an event names
    but that are missing or have another size. Health reports the latter until they are repaired.

    With --hash it also reads every file, which may take long, and reports files whose bytes differ
    from what the event says, even if their size is right, and files that cannot be read.

    The exit status is 1 if it found any of these, unless --remove deleted them all. Superseded
    renditions do not count.

    Stray files are outside the folders of Photolog, or have names that it never gives. They are
    never removed.

    Orphaned files are originals without an event whose upload may have been confirmed. They may be
    the last copies of photos, because a failover can lose events. Before you remove them, restore
    the log or upload them again. An upload that got no answer, or 503, may leave one too; one whose
    gateway was killed before it could answer does not.

    Superseded files are renditions of an earlier job that a later job has replaced. Workers remove
    them after superseded_grace_s; this finds the rest. It keeps those that were replaced within
    the time of --older-than, and those to which a signed link may still lead.
    """
    age_s = parse_ttl(older_than)
    settings = loaded.settings
    check(settings)
    if settings.s3_endpoint is None and not settings.blobs_folder.is_dir():
        raise UserError(f"{settings.blobs_folder} does not exist: check PHOTOLOG_DATA")

    async def run() -> tuple[Comparison, Hashed | None]:
        async with (
            wiring.open_log(settings, settled=removing) as log,
            open_store(settings, f"reconcile-{os.getpid()}") as blobs,
        ):
            of_this_log = await log_ownership.refuse_others(
                log, blobs, setting=wiring.place_of_blobs(settings)
            )
            if removing and not of_this_log:
                raise UserError(
                    "no gateway or worker has connected these files with the log yet: start one "
                    "before you remove files"
                )
            links_s = settings.s3_link_s if settings.s3_links else 0
            found = await compare(log, blobs, older_than_s=age_s, links_s=links_s)
            await tell_health(log, found.damages)
            if removing:
                await remove(blobs, found, orphans=orphans, superseded=superseded)
            if removing and superseded:
                await record_removed(log, blobs, _context())
            if not hashing:
                return found, None
            async with open_reading(settings) as files:
                with progress_bar(quiet=as_json) as progress:
                    hashed = await check_files(log, files, renditions=True, progress=progress)
            await tell_health(log, hashed.damages)
            return found, hashed

    found, hashed = anyio.run(run)
    if as_json:
        report = _Report(**msgspec.structs.asdict(found), hashed=hashed)
        say_json(msgspec.json.encode(report))
    else:
        if hashed is not None:
            _tell_hashed(hashed)
        _tell(found, removing=removing, orphans=orphans, superseded=superseded)
        if found.damages or not (hashed is None or hashed.well):
            say(REPAIR)
    settled = found.is_settled(removed=removing, orphans=orphans)
    if not settled or not (hashed is None or hashed.well):
        raise click.exceptions.Exit(1)


def _context() -> Context:
    return Context(
        now=datetime.now(UTC), source="reconcile", actor="reconcile", trace_id=uuid.uuid4().hex
    )


def _tell_hashed(found: Hashed) -> None:
    for line in found.lines():
        say(line)
    verdict = found.verdict or "all have the bytes that the log records"
    superseded = f" ({found.superseded:,} of them superseded)" if found.superseded else ""
    say(f"{found.files:,} files read{superseded}, {found.size_bytes:,} bytes: {verdict}")


def _tell(found: Comparison, *, removing: bool, orphans: bool, superseded: bool) -> None:
    for missing in found.missing:
        say(f"missing  {missing.key}  of photo {missing.photo_id}")
    for damaged in found.damaged:
        say(
            f"damaged  {damaged.key}  of photo {damaged.photo_id}: {damaged.size:,} bytes instead "
            f"of {damaged.recorded:,}"
        )
    done = "removed" if removing else "unnamed"
    for blob in found.unnamed:
        say(f"{done}  {blob.key}  {blob.size:,} bytes")
    for blob in found.orphaned:
        gone = "removed " if removing and orphans else "orphaned"
        say(f"{gone}  {blob.key}  {blob.size:,} bytes")
    for blob in found.superseded:
        gone = "removed" if removing and superseded else "superseded"
        say(f"{gone}  {blob.key}  {blob.size:,} bytes")
    for draft in found.drafts:
        say(f"{'removed' if removing else 'draft  '}  {draft.key}  {draft.size:,} bytes")
    for blob in found.strays:
        say(f"stray  {blob.key}  {blob.size:,} bytes")
    say(
        f"{found.named:,} files named by events, {len(found.missing):,} of them missing, "
        f"{len(found.damaged):,} of another size; "
        f"{len(found.unnamed):,} unnamed, {len(found.orphaned):,} orphaned, "
        f"{len(found.drafts):,} drafts; {len(found.superseded):,} superseded longer ago than "
        f"--older-than, of {sum(blob.size for blob in found.superseded):,} bytes; "
        f"{len(found.strays):,} stray"
    )
    if not removing and (found.unnamed or found.drafts):
        say("`photolog reconcile --remove` deletes the files that no event names.")
    if found.orphaned and not (removing and orphans):
        say(
            "Orphaned originals may be photos whose upload was confirmed and whose events the log "
            "has lost: restore the log, or upload them again. `--remove --orphaned` deletes them "
            "too."
        )
    if found.superseded and not (removing and superseded):
        say("`--remove --superseded` deletes renditions that a later job has replaced.")
