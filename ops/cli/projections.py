"""``photolog projections``: list, rebuild, roll back, drop, verify, events."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import click
import msgspec

from ops.cli.confirm import confirm, yes_option
from ops.cli.options import Group, config_option, data_option, with_settings
from ops.config.loading import Loaded
from ops.errors import UserError
from ops.event_format import printable, say, say_json
from ops.maintenance.audit import Break, audit
from ops.progress import Report, progress_bar
from ops.runtime import wiring
from projections.fold import Tally
from projections.generation import TABLES
from projections.models import checkpoints, history
from projections.rebuild import RebuildReport, rebuild, sweep
from projections.rollback import RollbackReport, roll_back
from projections.verify import NAMED, TableReport, VerifyReport, verify
from store.errors import StoreError, Unavailable
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection, open_reader
from store.sqlite.generations import Generations
from store.sqlite.reader import Reader

WIDEST = max(map(len, TABLES))
"""Characters of the longest name of a table."""

LOG_BROKEN = """\
Do not rebuild yet: the log itself is broken (`photolog verify` shows where), and the read model may
be the only evidence of what the log contained before."""

NOT_REBUILT = """\
nothing was rebuilt: the log is broken, and the read model may be the only evidence of what it
contained before. A rebuild would lose what the log no longer says. `--force` rebuilds all the same
and keeps the old generation. The log is broken here:"""

LOG_WHOLE = """\
The hash chains of the log are intact, so most likely the read model was changed. To check that the
newest events of the log are unchanged, use an anchor that you have noted: `photolog verify --upto
POSITION --anchor ANCHOR`. If they are, `photolog projections rebuild` repairs the read model."""


@click.group(cls=Group)
@config_option
@data_option
def command() -> None:
    """List, rebuild and verify the read models of this machine.

    A read model is a SQLite file, folded from the log, that answers queries. Each fold is a
    generation; one of them is live.
    """


class _Table(msgspec.Struct, frozen=True, kw_only=True):
    table: str
    rows: int


class _Partition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``lag_ms`` is the age of the oldest event that is not yet folded."""

    partition: int
    checkpoint: str
    end: str
    lag_ms: int


class _Kept(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A replaced generation with events that the log has lost or changed, or kept on request."""

    path: str
    size_bytes: int


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """``previous`` is the generation that ``rollback`` would make live, if there is one."""

    generation: str
    previous: str | None
    tables: list[_Table]
    partitions: list[_Partition]
    kept: list[_Kept]


_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@command.command("list")
@_json_option
@with_settings()
def list_models(loaded: Loaded, as_json: bool) -> None:
    """Show the live generation: its tables, and how much of the log it has folded."""

    async def run() -> _State:
        generations = wiring.generations(loaded.settings)
        live = generations.current()
        if live is None:
            raise Unavailable(
                "there is no read model yet: start `photolog up`, or `photolog projector` if roles "
                "run one by one"
            )
        reader = Reader(generations)
        try:
            async with wiring.open_log(loaded.settings) as log:
                await _refuse_others(log, generations)
                tables = await reader.query(_count)
                folded = await reader.query(checkpoints.get_all)
                partitions = [await _partition(log, each) for each in folded.values()]
        finally:
            reader.close()
        kept = [
            _Kept(path=str(path), size_bytes=path.stat().st_size) for path in generations.all_kept()
        ]
        previous = generations.previous()
        return _State(
            generation=live.name,
            previous=None if previous is None else previous.name,
            tables=tables,
            partitions=partitions,
            kept=kept,
        )

    state = anyio.run(run)
    if as_json:
        say_json(msgspec.json.encode(state))
        return
    say(f"generation {state.generation}")
    for table in state.tables:
        say(f"  {table.table:<{WIDEST}} {table.rows:>12,} rows")
    for each in state.partitions:
        say(
            f"partition {each.partition}: at {each.checkpoint} of {each.end}, "
            f"{each.lag_ms:,} ms behind"
        )
    if state.previous is not None:
        say(f"previous generation {state.previous}: `photolog projections rollback` returns to it")
    for each in state.kept:
        say(
            f"kept {each.path}, {each.size_bytes:,} bytes: it has events that the log has lost or "
            "changed, or `rebuild --force` kept it"
        )


@command.command("rebuild")
@click.option(
    "--force", is_flag=True, help="Rebuild even from a broken log; keep the old generation."
)
@_json_option
@with_settings()
def rebuild_models(loaded: Loaded, force: bool, as_json: bool) -> None:
    """Fold the log into a new generation that replaces the live one.

    Readers and the projector continue meanwhile. The new tables are compared with the live ones
    before they take their place. A rebuild that was interrupted or killed continues where it was.

    If `photolog verify` finds the log broken, nothing is rebuilt and the exit status is 1: the read
    model may be the only evidence of what the log contained before. --force rebuilds all the same.

    The old generation stays beside the new one, for `rollback`, until `drop` or the next rebuild
    removes it. It is kept for good with --force, and whenever it has an event that the log has lost
    or changed. `photolog projections list` names those that are kept; delete them when you no
    longer need them. At most PHOTOLOG_KEPT_GENERATIONS are kept.
    """

    async def run(progress: Report) -> RebuildReport:
        tally, began = Tally(), time.monotonic()

        def tell(done: int, total: int) -> None:
            rate = tally.events / (time.monotonic() - began)
            progress(done, total, f"{tally.events:,} events, {rate:,.0f} events/s")

        generations = wiring.generations(loaded.settings)
        async with wiring.open_log(loaded.settings, settled=True) as log:
            await _refuse_others(log, generations)
            _refuse_without_room(generations)
            if not force:
                _refuse_broken((await audit(log, progress=progress)).breaks)
            began = time.monotonic()
            return await rebuild(log, generations, tell, compare=True, keep=force, tally=tally)

    with progress_bar(quiet=as_json) as progress:
        report = anyio.run(run, progress)
    if as_json:
        say_json(msgspec.json.encode(report))
        return
    if report.resumed_at:
        say(f"continued an interrupted rebuild, which had {report.resumed_at:,} events")
    folded = report.events - report.resumed_at
    say(
        f"generation {report.generation}: {report.events:,} events in {report.duration_s:.1f} s, "
        f"{folded / report.duration_s:,.0f} events/s"
    )
    if report.comparison is None:
        say("not compared: there was no other generation of this version")
    else:
        for table in report.comparison.tables:
            _tell(table)
    if report.previous is not None:
        say(f"`photolog projections rollback` returns to generation {report.previous}")
    if report.kept is not None:
        say(str(report))


@command.command("rollback")
@_json_option
@with_settings()
def roll_back_models(loaded: Loaded, as_json: bool) -> None:
    """Make the generation live again that the last rebuild has replaced.

    It is brought up to date first. The one that was live stays beside it, so a second rollback
    returns to that one.
    """

    async def run() -> RollbackReport:
        generations = wiring.generations(loaded.settings)
        async with wiring.open_log(loaded.settings, settled=True) as log:
            return await roll_back(log, generations)

    report = anyio.run(run)
    if as_json:
        say_json(msgspec.json.encode(report))
        return
    say(f"generation {report.generation} is live")
    if report.previous is not None:
        say(f"`photolog projections rollback` returns to generation {report.previous}")


@command.command("drop")
@yes_option
@with_settings()
def drop_previous(loaded: Loaded, yes: bool) -> None:
    """Delete the generation that the last rebuild has replaced: nothing can be rolled back then.

    Asks first.
    """
    generations = wiring.generations(loaded.settings)
    previous = generations.previous()
    if previous is not None:
        confirm(f"Delete the generation {previous.name}?", yes=yes)
    dropped = generations.drop_previous()
    say("there is no previous generation" if dropped is None else f"deleted {dropped.name}")


@command.command("events")
@click.argument("file", type=click.Path(path_type=Path))
def print_events(file: Path) -> None:
    """Print the events of a read model, such as a kept one, as lines of JSON."""
    if not file.is_file():
        raise UserError(f"there is no file {file}")
    with closing(open_reader(file)) as db:
        for entry in history.everything(db):
            say(entry.body.decode())


@command.command("verify")
@_json_option
@with_settings()
def verify_models(loaded: Loaded, as_json: bool) -> None:
    """Compare the live generation with a fresh fold of the log; exit status 1 if they differ.

    If they differ, the hash chains of the log are checked too: it may be the log that was changed,
    and not the read model.
    """

    async def run(progress: Callable[[int, int], None]) -> tuple[VerifyReport, list[Break]]:
        generations = wiring.generations(loaded.settings)
        async with wiring.open_log(loaded.settings) as log:
            await sweep(log, generations)
            report = await verify(log, generations, progress)
            breaks = [] if report.equal else (await audit(log, progress=progress)).breaks
            return report, breaks

    with progress_bar(quiet=as_json) as progress:
        report, breaks = anyio.run(run, progress)
    if as_json:
        result = {"equal": report.equal, **msgspec.to_builtins(report), "breaks": breaks}
        say_json(msgspec.json.encode(result))
    else:
        for table in report.tables:
            _tell(table)
        if not report.equal:
            say(LOG_BROKEN if breaks else LOG_WHOLE)
    if not report.equal:
        raise click.exceptions.Exit(1)


def _tell(table: TableReport) -> None:
    verdict = "equal" if table.equal else f"differs: a fresh fold has {table.fresh.rows:,}"
    say(f"{table.table:<{WIDEST}} {table.live.rows:>12,} rows  {verdict}")
    for key in table.differing:
        parts = [str(part) for part in key]
        named = "{}:{}-{}".format(*parts) if table.table == "history" else " ".join(parts)
        say(f"  {printable(named)}")
    if len(table.differing) == NAMED:
        say("  … and possibly more")


def _refuse_broken(breaks: list[Break]) -> None:
    """Raise UserError that names the first breaks of the log, if there are any."""
    if breaks:
        named = [
            f"  {each.position}: {printable(each.chain)}, version {each.version}: "
            f"{printable(each.problem)}"
            for each in breaks[:NAMED]
        ]
        more = [f"  … and {len(breaks) - NAMED:,} more"] if len(breaks) > NAMED else []
        raise UserError("\n".join([NOT_REBUILT, *named, *more]))


def _refuse_without_room(generations: Generations) -> None:
    """Raise UserError if no further replaced generation may be kept."""
    kept = generations.kept()
    if generations.current() is not None and kept and len(kept) >= generations.most_kept:
        names = ", ".join(str(path) for path in kept)
        raise UserError(
            f"{len(kept)} replaced generations are kept, which is the maximum: delete those that "
            f"you no longer need, or raise PHOTOLOG_KEPT_GENERATIONS. They are {names}"
        )


async def _refuse_others(log: Log, generations: Generations) -> None:
    """Raise UserError if the read model belongs to another log; a damaged one is accepted."""
    if generations.current() is None:
        return
    reader = Reader(generations)
    try:
        owner = await reader.query(checkpoints.log_id)
    except StoreError:
        return
    finally:
        reader.close()
    if owner != log.log_id:
        raise UserError(
            f"PHOTOLOG_DATA and PHOTOLOG_REDIS_URL belong to two systems: the read model is a fold "
            f"of log {owner}, and Redis holds log {log.log_id}. If log {owner} is lost for good, "
            f"remove {generations.folder}"
        )


def _count(db: Connection) -> list[_Table]:
    """Count the rows of each table that is there: another version may have written the file."""
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return [
        _Table(table=table, rows=db.execute(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 # names of our own schema
        for table in TABLES
        if table in there
    ]


async def _partition(log: Log, folded: Position) -> _Partition:
    waiting = await log.read(folded, count=1)
    lag_ms = max(0, int(time.time() * 1000) - waiting[0].position.ms) if waiting else 0
    end = await log.end(folded.partition)
    return _Partition(
        partition=folded.partition, checkpoint=str(folded), end=str(end), lag_ms=lag_ms
    )
