"""``photolog backfill``"""

import shlex
import uuid
from datetime import UTC, datetime

import anyio
import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ops.cli import skips
from ops.cli.options import reason_option
from ops.cli.server import as_operator
from ops.client import backfill
from ops.client.client import Server, connected
from ops.client.operations import Operations
from ops.errors import UserError
from ops.event_format import printable, say, say_json


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f}/s")


@click.command()
@click.argument("stage")
@click.option("--run", "name", metavar="NAME", help="Continue this run. Default: a new run.")
@click.option(
    "--ahead",
    type=click.IntRange(min=0),
    default=1_000,
    show_default=True,
    metavar="N",
    help="Wait while more tasks than this are in the low lanes.",
)
@reason_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@as_operator
def command(
    server: Server, stage: str, name: str | None, ahead: int, reason: str | None, as_json: bool
) -> None:
    """Run a stage for photos that are already stored.

    The stages that depend on it run too. The tasks go to the low lanes, those of the newest photos
    first. Photos that are being processed or have failed are skipped. --run continues a run that
    was interrupted, or repeats a finished one for the photos that it skipped.
    """
    run_name = name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    bar = Progress(
        *(TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()),
        *(_Rate(), TimeRemainingColumn()),
        console=console,
        transient=True,
        disable=as_json or not console.is_terminal,
    )
    asking = bar.add_task(printable(stage), total=None)

    begun = False

    def show(progress: backfill.Progress) -> None:
        nonlocal begun
        begun = begun or progress.passed > 0
        total = progress.total or None
        bar.update(
            asking, description=_label(stage, progress), completed=progress.passed, total=total
        )

    async def run() -> backfill.Progress:
        async with connected(server.url, server.token) as client:
            operations = Operations(client)
            return await backfill.backfill(
                operations, stage, run_name, ahead=ahead, told=show, reason=reason
            )

    again = f"Continue with: photolog backfill {shlex.quote(stage)} --run {shlex.quote(run_name)}"
    try:
        with bar:
            done = anyio.run(run)
    except KeyboardInterrupt:
        say(f"Interrupted. {again}", err=True)
        raise
    except UserError as error:
        raise UserError(f"{error}\n{again}" if begun else str(error)) from error
    _end(done, run_name, as_json=as_json)


def _label(stage: str, progress: backfill.Progress) -> str:
    paused = ", paused" if progress.paused else ""
    return f"{printable(stage)} ({progress.waiting:,} wait{paused})"


def _end(done: backfill.Progress, run_name: str, *, as_json: bool) -> None:
    if as_json:
        counted = {"run": run_name, "requested": done.requested, "already": done.already}
        say_json(msgspec.json.encode(counted | {"skipped": dict(done.skipped)}))
        return
    counts = [f"{done.requested:,} requested"]
    if done.already:
        counts.append(f"{done.already:,} requested before")
    counts += skips.counted(done.skipped.elements())
    say(f"run {run_name}: {', '.join(counts)}")
