"""``photolog log recover``"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import click
import msgspec

from ops.cli.confirm import confirm, yes_option
from ops.cli.options import with_settings
from ops.config.loading import Loaded
from ops.config.settings import Settings
from ops.config.validation import check
from ops.event_format import plural, printable, say, say_json
from ops.maintenance.copied_log import serving_alone
from ops.maintenance.log_recover import Recovered, Recovery
from ops.maintenance.log_recover_findings import Findings, sentences
from ops.maintenance.settling import clear
from ops.process.lock import alone
from ops.runtime import wiring
from ops.runtime.blobs import open_store
from store.archive.settings import TrimmingSettings
from store.keys import Keys

SHOWN = 20
"""Lines of each kind of loss that are shown; the others are counted."""


@click.command()
@click.option(
    "--read-model",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Also use this read model, as of another host; may be given several times.",
)
@yes_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings("partitions")
def recover(loaded: Loaded, files: tuple[Path, ...], yes: bool, as_json: bool) -> None:
    """Rebuild the log in Redis, or the partitions that are lost, after events were lost there.

    Only for the case that neither the append-only file nor a backup of it is left: restoring either
    loses less. The events come from the segments beside the photos and, after the last segment and
    where segments are damaged, from the read model of this machine. What cannot be recovered is
    named first, and how that is known; then the command asks. Partitions that are still there, as
    those of the other servers of a cluster, stay as they are.

    No role may run meanwhile. If it is interrupted, run it again. Afterwards start the roles:
    photos, histories, positions and chains are the same as before, and readers that resume from a
    position of before get `recovered: false`.
    """
    settings = loaded.settings
    check(settings)

    def ask(found: Findings) -> None:
        _tell(found, err=as_json)
        confirm(f"Recover {'these partitions' if found.kept else 'this log'}?", yes=yes)

    async def run() -> Recovered:
        async with AsyncExitStack() as stack:
            used = settings
            if used.redis_url is None:
                url = await stack.enter_async_context(serving_alone(settings))
                used = msgspec.structs.replace(settings, redis_url=url)
            redis, wait = await stack.enter_async_context(wiring.open_empty(used))
            name = stack.enter_context(
                alone(settings.folder, "log-recover", "photolog log recover")
            )
            blobs = await stack.enter_async_context(open_store(used, name))
            await clear(blobs)
            trimming = TrimmingSettings(
                archive_keep_s=used.archive_keep_s, archive_keep_bytes=used.archive_keep_bytes
            )
            recovery = Recovery(
                *(redis, Keys(), blobs, [*_read_models(used), *files]),
                trimming=trimming,
                wait=wait,
            )
            return await recovery.run(used.partitions, ask)

    done = anyio.run(run)
    if as_json:
        say_json(msgspec.json.encode(done))
    elif done.findings is None:
        say(f"log {done.log_id} was recovered before; its epoch is {done.epoch}")
    else:
        found = done.findings
        where = f"{_named(found.recovered)} of " if found.kept else ""
        say(
            f"recovered {plural(found.events, 'event')} of {where}log {done.log_id}; its epoch is "
            f"{done.epoch}. Start the roles, then run `photolog verify` and `photolog reconcile`"
        )


def _read_models(settings: Settings) -> list[Path]:
    """Return the read models of this machine, the live one first."""
    if not settings.read_model_folder.is_dir():
        return []
    generations = wiring.generations(settings)
    found = generations.current(), generations.previous()
    return [path for path in found if path is not None]


def _named(partitions: Sequence[int]) -> str:
    numbers = ", ".join(map(str, partitions))
    return f"partition{'' if len(partitions) == 1 else 's'} {numbers}"


def _tell(found: Findings, *, err: bool) -> None:
    say(f"log {found.log}, as it can be recovered:", err=err)
    if found.kept:
        say(f"still there, and kept as it is: {_named(found.kept)}", err=err)
    for part in found.parts:
        if part.last is None:
            say(f"partition {part.partition}: nothing is left", err=err)
            continue
        sealed = part.events + part.foreign - part.from_read_model
        say(
            f"partition {part.partition}: {plural(part.events, 'event')} up to {part.last}; "
            f"{sealed:,} entries in {plural(part.segments, 'segment')}, "
            f"{part.from_read_model:,} from a read model",
            err=err,
        )
        say(f"  whether there were events after {part.last}, nothing shows", err=err)
    for kind, lines in sentences(found).items():
        for line in lines[:SHOWN]:
            say(f"{kind}: {printable(line)}", err=err)
        if len(lines) > SHOWN:
            say(f"{kind}: and {len(lines) - SHOWN:,} more; --json names all", err=err)
    if not (found.broken or found.unnamed or any(part.lost for part in found.parts)):
        say("nothing is known to be lost", err=err)
