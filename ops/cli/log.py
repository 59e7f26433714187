"""``photolog log``"""

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import anyio
import click
import msgspec

from ops.cli.log_recover import recover
from ops.cli.new_file import new_file
from ops.cli.options import WithDefault, config_option, data_option, with_settings
from ops.cli.verify import archive_of, opened_log, positions
from ops.client.text_table import console, table
from ops.config.loading import Loaded
from ops.config.settings import Settings
from ops.config.validation import check
from ops.errors import UserError
from ops.event_format import plural, printable, say, say_json
from ops.maintenance import log_info
from ops.maintenance.copied_log import serving_alone
from ops.maintenance.export_check import DamagedExport
from ops.maintenance.export_check import check as check_export
from ops.maintenance.export_file import Export
from ops.maintenance.log_export import Exported, export
from ops.maintenance.log_import import Imported, import_
from ops.maintenance.log_info import LogInfo
from ops.maintenance.settling import clear
from ops.process.lock import alone, named
from ops.progress import progress_bar
from ops.runtime import wiring
from ops.runtime.archiving import archiver_of
from ops.runtime.blobs import open_reading, open_store
from ops.telemetry.telemetry import Telemetry
from projections.models import checkpoints
from store.archive.archiver import Passed
from store.errors import StoreError
from store.log.log import Log
from store.log.position import Position
from store.sqlite.reader import Reader


@click.group(cls=WithDefault)
@config_option
@data_option
def command() -> None:
    """Show, archive, export, import and recover the log.

    Without a command: info.

    The log is in Redis, one stream for each partition. The archiver seals its events into segments
    beside the photos; `ops/guides/segment-format.md` says how to read them.
    """


command.add_command(recover)


class _Info(LogInfo, frozen=True, kw_only=True, rename="camel"):
    """``damaged`` is what ``--check`` found; None without it."""

    damaged: list[str] | None = None


@command.command()
@click.option(
    "--check", "checking", is_flag=True, help="Also read every segment, and compare it with Redis."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings()
def info(loaded: Loaded, checking: bool, as_json: bool) -> None:
    """Show what each partition has: in the archive, in Redis, and who has read how far.

    The exit status is 1 if a segment is damaged or missing, or belongs to another log; with
    `--check` also if a sealed event that should still be in Redis is not there, or is another one.
    """
    settings = loaded.settings
    check(settings)

    async def run() -> _Info:
        async with wiring.open_log(settings) as log:
            archive = archive_of(log)
            found = await log_info.look(log, archive, await _checkpoints(settings, log))
            damaged = await log_info.check(log, archive) if checking else None
            return _Info(**msgspec.structs.asdict(found), damaged=damaged)

    found = anyio.run(run)
    if as_json:
        say_json(msgspec.json.encode(found))
    else:
        _tell(found)
    if not found.well or found.damaged:
        raise click.exceptions.Exit(1)


@command.command()
@click.option(
    "--discard-lost",
    is_flag=True,
    help="First delete segments with events that the log has lost, as after restoring a backup.",
)
@with_settings()
def archive(loaded: Loaded, discard_lost: bool) -> None:
    """Seal all events into segments now, and trim what the settings say.

    An archiver does so by itself, once events fill a segment or are archive_after_s old. Use this
    before a backup. If another archiver is at work on a partition, it is left to that one.
    """
    settings = loaded.settings
    check(settings)

    async def run() -> list[Passed]:
        telemetry = Telemetry("archiver")
        async with AsyncExitStack() as stack:
            log = await stack.enter_async_context(wiring.open_log(settings, settled=True))
            name = stack.enter_context(named(settings.folder, "log-archive"))
            blobs = await stack.enter_async_context(wiring.open_blobs(settings, log, name))
            archiver = archiver_of(settings, log, blobs, name, telemetry)
            return [
                await archiver.archive(each, now=True, discard_lost=discard_lost)
                for each in range(log.partitions)
            ]

    for passed in anyio.run(run):
        if not passed.held:
            say(f"partition {passed.partition}: another archiver is at work")
            continue
        for head in passed.discarded:
            say(f"discarded {head.entries:,} lost events, from {head.first_position} on")
        events = sum(head.entries for head in passed.sealed)
        last = f", up to {passed.sealed[-1].last_position}" if passed.sealed else ""
        trimmed = f"; {passed.trimmed:,} events left Redis" if passed.trimmed else ""
        evicted = f"; so did {passed.evicted:,} states" if passed.evicted else ""
        say(
            f"partition {passed.partition}: {plural(events, 'event')} in "
            f"{plural(len(passed.sealed), 'new segment')}{last}{trimmed}{evicted}"
        )


@command.command(name="export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--blobs", is_flag=True, help="With the originals and all pictures made from them.")
@click.option(
    "--after",
    metavar="POSITION",
    help="Only the events after the position; those of several partitions with commas.",
)
@click.option("--upto", metavar="POSITION", help="Only the events up to the position.")
@with_settings()
def export_(loaded: Loaded, file: Path, blobs: bool, after: str | None, upto: str | None) -> None:
    """Write the log into one portable FILE, a tar archive of segments.

    The system may be running; without `--blobs` it needs no photos. `photolog log import` reads the
    file, if it has the whole log. The exit status is 1 if photos that events name are missing.
    """
    settings = loaded.settings
    check(settings)
    begin, end = positions(after, "--after"), positions(upto, "--upto")

    async def run() -> Exported:
        async with AsyncExitStack() as stack:
            log = await stack.enter_async_context(opened_log(settings))
            for option, given in (("--after", begin), ("--upto", end)):
                if given is not None and given.keys() != set(range(log.partitions)):
                    raise UserError(
                        f"{option}: name one position in each of {log.partitions} partitions"
                    )
            files = await stack.enter_async_context(open_reading(settings)) if blobs else None
            target = stack.enter_context(new_file(file))
            with progress_bar(quiet=False) as progress:
                return await export(
                    *(log, archive_of(log), target),
                    blobs=files,
                    begin=begin,
                    upto=end,
                    progress=progress,
                )

    found = anyio.run(run)
    say(f"{file}: {found.events:,} events in {found.segments:,} segments, {found.blobs:,} files")
    for key in found.missing:
        say(f"missing  {key}")
    if found.missing:
        raise click.exceptions.Exit(1)


@command.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--damaged",
    is_flag=True,
    help="Import although photos are missing or altered, or hash chains are broken.",
)
@click.option(
    "--revoke-access",
    is_flag=True,
    help="Revoke all API keys and tokens of the imported log, as for a file that others made.",
)
@with_settings("partitions")
def import_log(loaded: Loaded, file: Path, damaged: bool, revoke_access: bool) -> None:
    """Import the log in FILE, which `photolog log export` has written, into an empty system.

    No role may run meanwhile. The photos, their histories and their chains are the same as before;
    positions too, unless the number of partitions is another one. If it is interrupted, run it
    again. As long as no role has run since, another file replaces what was imported. The anchor and
    the positions that are printed are those of the imported events, before the events that the
    import appends itself; compare them with `photolog verify --upto --anchor`.

    All of FILE is checked before anything is written. If photos that events name are missing or
    altered, or if hash chains are broken, each is named, and the exit status is 1; with --damaged
    the rest is imported.
    """
    settings = loaded.settings
    check(settings)

    async def run() -> tuple[Imported, list[str], bool]:
        source = Export(file)
        async with AsyncExitStack() as stack:
            stack.callback(source.close)
            with progress_bar(quiet=False) as progress:
                checked = await check_export(source, accept_damage=damaged, progress=progress)
            name = stack.enter_context(alone(settings.folder, "log-import", "photolog log import"))
            used = settings
            if used.redis_url is None:
                url = await stack.enter_async_context(serving_alone(settings))
                used = msgspec.structs.replace(settings, redis_url=url)
            if used.partitions is None:
                used = msgspec.structs.replace(used, partitions=source.manifest.partitions)
            log = await stack.enter_async_context(wiring.open_log(used, create=True))
            if settings.partitions is None and log.partitions != source.manifest.partitions:
                raise UserError(
                    f"this system has a log with {plural(log.partitions, 'partition')}, and the "
                    f"export has {source.manifest.partitions}: use another data folder, or confirm "
                    f"with --partitions {log.partitions}"
                )
            blobs = await stack.enter_async_context(open_store(used, name))
            await clear(blobs)
            with progress_bar(quiet=False) as progress:
                done = await import_(
                    *(log, blobs, source, checked), revoke_access=revoke_access, progress=progress
                )
            return done, checked.damages, source.manifest.blobs

    try:
        found, damages, with_photos = anyio.run(run)
    except DamagedExport as error:
        for line in error.damages:
            say(printable(line))
        raise
    for line in damages:
        say(printable(line))
    _tell_imported(found, with_photos, revoke_access)


def _tell_imported(found: Imported, with_photos: bool, revoke_access: bool) -> None:
    say(f"imported {plural(found.events, 'event')} and {plural(found.blobs, 'file')}")
    if found.positions:
        say(f"anchor {found.anchor}  up to {','.join(found.positions)}")
    if not with_photos:
        say(
            "the file has no photos: copy them into the storage of this system, or import a file "
            "that `photolog log export --blobs` has written"
        )
    if found.foreign:
        say(f"left out {found.foreign:,} entries that are not events")
    if found.unnamed:
        say(f"left out {plural(found.unnamed, 'file')} that no event names")
    if found.webhooks:
        say(
            f"disabled {found.webhooks:,} webhooks, since the other system may still deliver them: "
            "`photolog webhooks` lists them"
        )
    if revoke_access:
        say(f"revoked all tokens and API keys: {plural(found.keys, 'key')} in force")


async def _checkpoints(settings: Settings, log: Log) -> dict[int, Position]:
    """Return the checkpoints of this machine's read model; none if it has none for this log."""
    generations = wiring.generations(settings)
    if not settings.read_model_folder.is_dir() or generations.current() is None:
        return {}
    reader = Reader(generations)
    try:
        if await reader.query(checkpoints.log_id) != log.log_id:
            return {}
        return await reader.query(checkpoints.get_all)
    except StoreError:
        return {}
    finally:
        reader.close()


def _tell(found: _Info) -> None:
    epoch = f", epoch {found.epoch}" if found.epoch > 1 else ""
    say(f"log {found.log_id}{epoch}")
    heads = ("partition", "archived", "segments", "bytes", "in Redis", "memory", "unsealed")
    rows = [
        (
            *(each.partition, each.sealed_events, each.segments, each.sealed_bytes),
            *(each.live_events, each.live_bytes, each.unsealed),
        )
        for each in found.partitions
    ]
    console().print(table(heads, rows))
    for each in found.partitions:
        say(f"partition {each.partition}: oldest {_when(each.oldest)}, newest {_when(each.newest)}")
        say(f"  sealed up to {each.sealed_upto or '–'}, in Redis after {each.trimmed_upto or '–'}")
        for reader in each.readers:
            say(f"  {reader.reader} at {reader.position}, {reader.lag_s:,.1f} s behind")
    for each in found.partitions:
        if each.problem:
            say(f"partition {each.partition}: {each.problem}")
    for problem in found.damaged or ():
        say(f"damaged: {problem}")
    if found.damaged == [] and found.well:
        if any(each.segments for each in found.partitions):
            say("all segments are whole, and Redis has the same events")
        else:
            say("there are no segments to check yet: all events are in Redis alone")


def _when(position: str | None) -> str:
    if position is None:
        return "–"
    at = datetime.fromtimestamp(Position.parse(position).ms / 1000, UTC)
    return f"{position} ({at:%Y-%m-%d %H:%M:%S} UTC)"
