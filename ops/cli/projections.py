"""``photolog projections``: list, rebuild, verify."""

import time
from collections.abc import Callable

import anyio
import click
import msgspec

from ops.cli.options import config_option, data_option, with_settings
from ops.config.loading import Loaded
from ops.errors import UserError
from ops.event_format import printable, say, say_json
from ops.maintenance.audit import Break, audit
from ops.progress import progress_bar
from ops.runtime import wiring
from projections.generation import TABLES
from projections.models import checkpoints
from projections.rebuild import RebuildReport, rebuild
from projections.verify import NAMED, TableReport, VerifyReport, verify
from store.errors import StoreError, Unavailable
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection
from store.sqlite.generations import Generations
from store.sqlite.reader import Reader

SENTENCE_CHARS = 200

LOG_BROKEN = """\
Do not rebuild yet: the log itself is broken (`photolog verify` shows where), and the read model may
be the only evidence of what the log contained before."""

NOT_REBUILT = """\
nothing was rebuilt: the log is broken (`photolog verify` shows where), and the read model may be
the only evidence of what it contained before. `--force` rebuilds all the same and keeps the old
generation."""

LOG_WHOLE = """\
The hash chains of the log are intact, so most likely the read model was changed. To check that the
newest events of the log are unchanged, use an anchor that you have noted: `photolog verify --upto
POSITION --anchor ANCHOR`. If they are, `photolog projections rebuild` repairs the read model."""


class _Group(click.Group):
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # Click would cut each sentence to one line.
        sentences = [
            (name, each.get_short_help_str(SENTENCE_CHARS)) for name, each in self.commands.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(sentences)


@click.group(cls=_Group)
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
    generation: str
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
                folded = await reader.query(_checkpoints, log.partitions)
                partitions = [await _partition(log, position) for position in folded]
        finally:
            reader.close()
        kept = [
            _Kept(path=str(path), size_bytes=path.stat().st_size) for path in generations.all_kept()
        ]
        return _State(generation=live.name, tables=tables, partitions=partitions, kept=kept)

    state = anyio.run(run)
    if as_json:
        say_json(msgspec.json.encode(state))
        return
    say(f"generation {state.generation}")
    for table in state.tables:
        say(f"  {table.table:<12} {table.rows:>12,} rows")
    for each in state.partitions:
        say(
            f"partition {each.partition}: at {each.checkpoint} of {each.end}, "
            f"{each.lag_ms:,} ms behind"
        )
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

    Readers and the projector continue meanwhile. If `photolog verify` finds the log broken, nothing
    is rebuilt and the exit status is 1: the read model may be the only evidence of what the log
    contained before. --force rebuilds all the same.

    The old generation is kept with --force, and whenever it has an event that the log has lost or
    changed. `photolog projections list` names those that are kept; delete them when you no longer
    need them. At most PHOTOLOG_KEPT_GENERATIONS are kept.
    """

    async def run(progress: Callable[[int, int], None]) -> RebuildReport:
        generations = wiring.generations(loaded.settings)
        async with wiring.open_log(loaded.settings, settled=True) as log:
            await _refuse_others(log, generations)
            _refuse_without_room(generations)
            if not force and (await audit(log, progress=progress)).breaks:
                raise UserError(NOT_REBUILT)
            return await rebuild(log, generations, progress, keep=force)

    with progress_bar(quiet=as_json) as progress:
        report = anyio.run(run, progress)
    if as_json:
        say_json(msgspec.json.encode(report))
    else:
        say(
            f"generation {report.generation}: {report.events:,} events in {report.duration_s:.1f} s"
        )
        if report.kept is not None:
            say(str(report))


@command.command("verify")
@_json_option
@with_settings()
def verify_models(loaded: Loaded, as_json: bool) -> None:
    """Compare the live generation with a fresh fold of the log; exit status 1 if they differ.

    If they differ, the hash chains of the log are checked too: it may be the log that was changed,
    and not the read model.
    """

    async def run(progress: Callable[[int, int], None]) -> tuple[VerifyReport, list[Break]]:
        async with wiring.open_log(loaded.settings) as log:
            report = await verify(log, wiring.generations(loaded.settings), progress)
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
    say(f"{table.table:<12} {table.live.rows:>12,} rows  {verdict}")
    for key in table.differing:
        parts = [str(part) for part in key]
        named = "{}:{}-{}".format(*parts) if table.table == "history" else " ".join(parts)
        say(f"  {printable(named)}")
    if len(table.differing) == NAMED:
        say("  … and possibly more")


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
    return [
        _Table(table=table, rows=db.execute(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 # names of our own schema
        for table in TABLES
    ]


def _checkpoints(db: Connection, partitions: int) -> list[Position]:
    return [checkpoints.get(db, partition) for partition in range(partitions)]


async def _partition(log: Log, folded: Position) -> _Partition:
    waiting = await log.read(folded, count=1)
    lag_ms = max(0, int(time.time() * 1000) - waiting[0].position.ms) if waiting else 0
    end = await log.end(folded.partition)
    return _Partition(
        partition=folded.partition, checkpoint=str(folded), end=str(end), lag_ms=lag_ms
    )
