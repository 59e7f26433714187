"""``photolog queues``: show, pause, resume, drain, limit."""

import re
from contextlib import nullcontext
from typing import Any

import anyio
import click
import msgspec
from rich.console import Console
from rich.live import Live

from domain.pipeline.control_events import LONGEST_RATE_MS, MOST_IN_A_RATE, MOST_TASKS
from ops.cli.options import WithDefault, config_option, data_option
from ops.cli.server import as_operator
from ops.client.client import Server, connected
from ops.client.operations import ALL, Held, Limit, Operations, Rate
from ops.client.queue_table import table
from ops.event_format import limits, say, say_json

LOOK_S = 1.0
WIDE = 200
"""The width of the table without a terminal."""

NONE = "none"


@click.group(cls=WithDefault)
@config_option
@data_option
def command() -> None:
    """Show waiting tasks and workers; pause, resume, drain and limit stages.

    Without a command: show. STAGE is one of the stages shown, or all.
    """


_json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


@command.command("show")
@click.option("--watch", is_flag=True, help="Refresh every second, until Ctrl-C.")
@_json_option
@as_operator
def show(server: Server, watch: bool, as_json: bool) -> None:
    """Show what waits in each lane, and what the workers do.

    In/s and Out/s are the tasks that entered and left the lanes per second, over the last minute
    or, if the heading says so, since the gateway started.
    """

    async def run() -> None:
        async with connected(server.url, server.token) as client:
            operations = Operations(client)
            if as_json:
                await _show_json(operations, watch=watch)
            elif watch:
                await _watch(operations)
            else:
                _console().print(table(await operations.queues()))

    anyio.run(run)


@command.command("pause")
@click.argument("stage")
@_json_option
@as_operator
def pause(server: Server, stage: str, as_json: bool) -> None:
    """Start no more tasks of STAGE; those that are running finish.

    STAGE is a stage that `photolog queues` shows, or all.
    """
    _tell(_steer(server, stage, "pause"), as_json=as_json)


@command.command("resume")
@click.argument("stage")
@_json_option
@as_operator
def resume(server: Server, stage: str, as_json: bool) -> None:
    """Resume STAGE; all also resumes the stages that were paused one by one.

    STAGE is a stage that `photolog queues` shows, or all.
    """
    _tell(_steer(server, stage, "resume"), as_json=as_json)


@command.command("drain")
@click.argument("stage")
@click.option("--reason", required=True, help="Recorded in the history of each photo.")
@click.option("--yes", is_flag=True, help="Do not ask before draining all stages.")
@_json_option
@as_operator
def drain(server: Server, stage: str, reason: str, yes: bool, as_json: bool) -> None:
    """Fail the jobs whose tasks wait for STAGE.

    STAGE is a stage that `photolog queues` shows, or all. The jobs become dead letters, with the
    reason, and can be retried. Tasks that are running go on.
    """
    if stage == ALL and not yes:
        click.confirm("Fail the jobs of all waiting tasks of every stage?", abort=True)

    async def run() -> dict[str, int]:
        drained = remaining = 0
        async with connected(server.url, server.token) as client:
            with Console(stderr=True).status("draining") as status:
                async for each in Operations(client).drain(stage, reason):
                    drained, remaining = drained + each.drained, each.remaining
                    status.update(f"{drained:,} drained, {remaining:,} remaining")
        return {"drained": drained, "remaining": remaining}

    done = anyio.run(run)
    if as_json:
        say_json(msgspec.json.encode(done))
    else:
        say(f"{done['drained']:,} drained, {done['remaining']:,} remaining")


def _concurrency(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
    if text is None or text == NONE:
        return text
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not 1 <= int(text) <= MOST_TASKS:
        raise click.BadParameter(f"{text!r} is neither a number from 1 to {MOST_TASKS:,} nor none")
    return int(text)


def _rate(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
    if text is None or text == NONE:
        return text
    match = re.fullmatch(r"(\d{1,9})(?:/(\d{1,9}))?", text, re.ASCII)
    tasks, duration_ms = (int(match[1]), int(match[2] or 1000)) if match else (0, 0)
    if not (1 <= tasks <= MOST_IN_A_RATE and 1 <= duration_ms <= LONGEST_RATE_MS):
        raise click.BadParameter(
            f"{text!r} is neither MAX, MAX/MILLISECONDS nor none: MAX is from 1 to "
            f"{MOST_IN_A_RATE:,}, MILLISECONDS from 1 to {LONGEST_RATE_MS:,}"
        )
    return Rate(max=tasks, duration_ms=duration_ms)


@command.command("limit")
@click.argument("stage")
@click.option(
    "--concurrency",
    callback=_concurrency,
    metavar="N|none",
    help="Tasks that each worker runs at once; with all: of all stages together.",
)
@click.option(
    "--rate",
    callback=_rate,
    metavar="MAX[/MS]|none",
    help="Tasks that all workers together start in MS milliseconds (default 1000).",
)
@_json_option
@as_operator
def limit(
    server: Server,
    stage: str,
    concurrency: int | str | None,
    rate: Rate | str | None,
    as_json: bool,
) -> None:
    """Limit how many tasks of STAGE run at once, and how many start in a period of time.

    STAGE is a stage that `photolog queues` shows, or all, which has no rate. A limit that is not
    named stays as it is; none removes it.
    """
    if concurrency is None and rate is None:
        raise click.UsageError("Name --concurrency, --rate or both.")

    async def run() -> Held:
        async with connected(server.url, server.token) as client:
            operations = Operations(client)
            now = (await operations.queues()).limit_of(stage)
            wish = Limit(
                concurrency=_chosen(concurrency, now.concurrency), rate=_chosen(rate, now.rate)
            )
            return await operations.limit(stage, wish)

    _tell(anyio.run(run), as_json=as_json)


def _chosen(given: Any, now: Any) -> Any:
    return now if given is None else None if given == NONE else given


def _steer(server: Server, stage: str, what: str) -> Held:
    async def run() -> Held:
        async with connected(server.url, server.token) as client:
            return await Operations(client).steer(stage, what)

    return anyio.run(run)


def _tell(held: Held, *, as_json: bool) -> None:
    if as_json:
        say_json(msgspec.json.encode(held))
        return
    state = "paused" if held.paused else "running"
    limit = limits(msgspec.to_builtins(held.limit)) or "no limit"
    say(f"{held.stage}: {state}, {limit}")


async def _show_json(operations: Operations, *, watch: bool) -> None:
    while True:
        say_json(await operations.ask("GET", "queues"))
        if not watch:
            return
        await anyio.sleep(LOOK_S)


async def _watch(operations: Operations) -> None:
    """Refresh the table in place on a terminal; otherwise print one table after the other."""
    console = _console()
    live = Live(console=console, auto_refresh=False)
    with live if console.is_terminal else nullcontext():
        while True:
            shown = table(await operations.queues())
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                console.print(shown)
            await anyio.sleep(LOOK_S)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)
