"""``photolog reconcile``"""

import os

import anyio
import click
import msgspec

from ops import belonging, wiring
from ops.blobs import open_store
from ops.commands.options import with_settings
from ops.consistency import check
from ops.errors import UserError
from ops.lines import say, say_json
from ops.loading import Loaded
from ops.reconciling import Comparison, compare, remove
from ops.tokens import parse_ttl


@click.command()
@click.option("--remove", "removing", is_flag=True, help="Delete the files that no event names.")
@click.option(
    "--orphaned",
    "orphans",
    is_flag=True,
    help="With --remove: also originals whose event the log may have lost.",
)
@click.option(
    "--superseded",
    is_flag=True,
    help="With --remove: also pictures that a later job has replaced.",
)
@click.option(
    "--older-than",
    default="1h",
    show_default=True,
    help="Leave younger files alone: they may be about to be recorded. As 30m, 12h, 2d.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@with_settings()
def command(
    loaded: Loaded,
    removing: bool,
    orphans: bool,
    superseded: bool,
    older_than: str,
    as_json: bool,
) -> None:
    """Compare the files with the log, both ways.

    Reports files that no event names, which a crash may leave, and files that an event names and
    that are not there, or are of another size. The exit status is 1 if there are any of these.

    Orphaned are originals of a time of which the log has lost events, or may have: perhaps the last
    copies of photos. Restore the log, or send them again, before you remove them.

    Superseded are pictures of an earlier job that a later one has made anew. Nothing shows them;
    they may be there or not. Those replaced within the time of --older-than, or to which a signed
    link may still work, are left alone.
    """
    age_s = parse_ttl(older_than)
    settings = loaded.settings
    check(settings)
    if settings.s3_endpoint is None and not settings.blobs_folder.is_dir():
        raise click.ClickException(f"there are no files in {settings.blobs_folder}")

    async def run() -> Comparison:
        async with (
            wiring.open_log(settings) as log,
            open_store(settings, f"reconcile-{os.getpid()}") as blobs,
        ):
            of_this_log = await belonging.refuse_others(
                log, blobs, setting=wiring.place_of_blobs(settings)
            )
            if removing and not of_this_log:
                raise UserError("no gateway or worker has joined these files to the log yet")
            links_s = settings.s3_link_s if settings.s3_links else 0
            found = await compare(log, blobs, older_than_s=age_s, links_s=links_s)
            if removing:
                await remove(blobs, found, orphans=orphans, superseded=superseded)
            return found

    found = anyio.run(run)
    if as_json:
        say_json(msgspec.json.encode(found))
    else:
        _tell(found, removing=removing, orphans=orphans, superseded=superseded)
    if found.missing or found.damaged:
        raise click.exceptions.Exit(1)


def _tell(found: Comparison, *, removing: bool, orphans: bool, superseded: bool) -> None:
    for missing in found.missing:
        say(f"missing  {missing.key}  of photo {missing.photo_id}")
    for damaged in found.damaged:
        say(
            f"damaged  {damaged.key}  of photo {damaged.photo_id}: {damaged.size:,} bytes, and not "
            f"{damaged.recorded:,}"
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
    say(
        f"{found.named:,} files named by events, {len(found.missing):,} of them missing, "
        f"{len(found.damaged):,} of another size; "
        f"{len(found.unnamed):,} unnamed, {len(found.orphaned):,} orphaned, "
        f"{len(found.drafts):,} drafts; {len(found.superseded):,} superseded, of "
        f"{sum(blob.size for blob in found.superseded):,} bytes"
    )
    if not removing and (found.unnamed or found.drafts):
        say("`photolog reconcile --remove` deletes those that no event names.")
    if found.orphaned and not (removing and orphans):
        say(
            "Orphaned originals may be photos whose events the log has lost: restore the log, or "
            "send them again. `--remove --orphaned` deletes them too."
        )
    if found.superseded and not (removing and superseded):
        say("`--remove --superseded` deletes pictures that a later job has replaced.")
