"""``photolog queues``: show, pause, resume, drain, cancel, limit."""

import re
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import anyio
import click
import msgspec
from rich.console import Console
from rich.live import Live

from domain.moments import iso
from domain.pipeline.control_events import LONGEST_RATE_MS, MOST_IN_A_RATE, MOST_TASKS
from domain.pipeline.stages import TREE
from ops.cli.confirm import confirm, yes_option
from ops.cli.options import WithDefault, config_option, data_option, reason_option
from ops.cli.server import as_operator
from ops.client.client import Server, connected
from ops.client.operations import Operations
from ops.client.queue_table import age, table
from ops.client.queues import ALL, Drain, Held, Limit, Queues, Rate, Series
from ops.client.text_table import console as console_of_table
from ops.event_format import limits, printable, say, say_json
from ops.runtime.tokens import parse_ttl

LOOK_S = 1.0
NONE = "none"


@click.group(cls=WithDefault)
@config_option
@data_option
def command() -> None:
    """Show waiting tasks and workers; pause, resume, drain, cancel and limit stages.

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
                console = console_of_table()
                console.print(table(await operations.queues(), console.width))

    anyio.run(run)


@command.command("pause")
@click.argument("stage")
@click.option("--for", "duration", metavar="TIME", help="Resume by itself after 30m, 2h or 1d.")
@click.option(
    "--until", metavar="TIME", help="Resume by itself at a time such as 2026-11-23T10:00:00Z."
)
@reason_option
@_json_option
@as_operator
def pause(
    server: Server,
    stage: str,
    duration: str | None,
    until: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Start no more tasks of STAGE; those that are running finish.

    STAGE is a stage that `photolog queues` shows, or all.
    """
    if duration is not None and until is not None:
        raise click.UsageError("Name --for or --until.")
    if duration is not None:
        until = iso(datetime.now(UTC) + timedelta(seconds=parse_ttl(duration)))
    _tell(_steer(server, stage, "pause", reason=reason, until=until), as_json=as_json)


@command.command("resume")
@click.argument("stage")
@reason_option
@_json_option
@as_operator
def resume(server: Server, stage: str, reason: str | None, as_json: bool) -> None:
    """Resume STAGE; all also resumes the stages that were paused one by one.

    STAGE is a stage that `photolog queues` shows, or all.
    """
    _tell(_steer(server, stage, "resume", reason=reason), as_json=as_json)


@command.command("drain")
@click.argument("stage")
@click.option(
    "--timeout",
    default="10m",
    show_default=True,
    metavar="TIME",
    help="How long to wait, such as 30s, 10m or 2h.",
)
@reason_option
@yes_option
@_json_option
@as_operator
def drain(
    server: Server, stage: str, timeout: str, reason: str | None, yes: bool, as_json: bool
) -> None:
    """Start no more tasks of STAGE, and wait until those that are running have finished.

    STAGE is a stage that `photolog queues` shows, or all. It is paused: its tasks wait, and so do
    new ones, until `photolog queues resume`. The exit status is 1 if tasks still run when the time
    is over, or if the stage is resumed meanwhile. Ctrl-C ends the waiting and leaves the pause.
    """
    timeout_s = parse_ttl(timeout)
    queues = _queues(server).of(stage)
    running, waiting = (sum(map(attrgetter(name), queues)) for name in ("in_progress", "waiting"))
    if queues:
        confirm(
            f"Pause {_named(stage)}? {_tasks(running)} running will finish, "
            f"{_tasks(waiting)} waiting will stay.",
            yes=yes,
        )
    last: Drain | None = None

    async def run() -> None:
        nonlocal last
        async with connected(server.url, server.token) as client:
            with Console(stderr=True).status("draining") as status:
                async for last in Operations(client).drain(stage, timeout_s, reason):
                    status.update(f"draining: {_rest(last)}")

    try:
        anyio.run(run)
    except KeyboardInterrupt:
        say(f"Interrupted. {_left_paused(stage, sure=last is not None)}", err=True)
        raise
    if last is not None:
        _tell_drained(last, timeout, as_json=as_json)


@command.command("cancel")
@click.argument("stage")
@click.option("--reason", required=True, help="Recorded in the history of each photo.")
@yes_option
@_json_option
@as_operator
def cancel(server: Server, stage: str, reason: str, yes: bool, as_json: bool) -> None:
    """Cancel the tasks that wait for STAGE: their jobs fail.

    STAGE is a stage that `photolog queues` shows, or all. The jobs become dead letters, with the
    reason, and can be retried. Tasks that are running go on.
    """
    queues = [each for each in _queues(server).of(stage) if each.stage in TREE]
    if queues:
        waiting = sum(each.waiting for each in queues)
        delayed = sum(each.delayed for each in queues)
        counted = f"{_tasks(waiting)} waiting for {_named(stage)} and {delayed:,} delayed"
        confirm(f"Fail the jobs of {counted}?", yes=yes)

    async def run() -> dict[str, int]:
        cancelled = remaining = 0
        async with connected(server.url, server.token) as client:
            with Console(stderr=True).status("cancelling") as status:
                async for each in Operations(client).cancel(stage, reason):
                    cancelled, remaining = cancelled + each.cancelled, each.remaining
                    status.update(f"{cancelled:,} cancelled, {remaining:,} remaining")
        return {"cancelled": cancelled, "remaining": remaining}

    done = anyio.run(run)
    if as_json:
        say_json(msgspec.json.encode(done))
    else:
        say(f"{done['cancelled']:,} cancelled, {done['remaining']:,} remaining")


def _tell_drained(last: Drain, timeout: str, *, as_json: bool) -> None:
    """Print the result of a drain; exit with status 1 unless the stage is idle."""
    if as_json:
        say_json(msgspec.json.encode(last))
    elif last.idle:
        say(f"{last.stage}: paused and idle")
    if last.idle:
        return
    if last.paused:
        left = _left_paused(last.stage, sure=True)
        say(f"{last.stage}: not idle after {timeout}: {_rest(last)}. {left}", err=True)
    else:
        say(f"{last.stage}: resumed by somebody before it was idle.", err=True)
    raise click.exceptions.Exit(1)


def _rest(drain: Drain) -> str:
    """Return what keeps a stage from being idle."""
    parts: list[str] = []
    if drain.running:
        held = [f"{printable(x.name)}, silent for {age(x.silent_ms)}" for x in drain.workers]
        where = "; ".join(held) or "by a worker that is gone"
        parts.append(f"{_tasks(drain.running)} still running ({where})")
    if drain.unaware:
        parts.append(f"the pause is not noticed yet by {', '.join(map(printable, drain.unaware))}")
    if drain.silent:
        parts.append(f"no answer from partitions {', '.join(map(str, drain.silent))}")
    return ", ".join(parts) or "no task is running"


def _left_paused(stage: str, *, sure: bool) -> str:
    if not sure:
        return f"`photolog queues` shows whether {_named(stage)} is paused."
    return f"It stays paused until `photolog queues resume {printable(stage)}`."


def _named(stage: str) -> str:
    return "all stages" if stage == ALL else printable(stage)


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"


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
@click.argument("nothing", metavar="[none]", required=False, type=click.Choice([NONE]))
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
@reason_option
@_json_option
@as_operator
def limit(
    server: Server,
    stage: str,
    nothing: str | None,
    concurrency: int | str | None,
    rate: Rate | str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Limit how many tasks of STAGE run at once, and how many start in a period of time.

    STAGE is a stage that `photolog queues` shows, or all, which has no rate. A limit that is not
    named stays as it is; none removes it. STAGE none removes both.
    """
    if nothing is not None and (concurrency is not None or rate is not None):
        raise click.UsageError("Name a limit, or none.")
    if nothing is not None:
        concurrency, rate = NONE, NONE if stage != ALL else None
    if concurrency is None and rate is None:
        raise click.UsageError("Name --concurrency, --rate or both; or none, to remove both.")

    async def run() -> Held:
        async with connected(server.url, server.token) as client:
            operations = Operations(client)
            now = (await operations.queues()).limit_of(stage)
            wish = Limit(
                concurrency=_chosen(concurrency, now.concurrency), rate=_chosen(rate, now.rate)
            )
            return await operations.limit(stage, wish, reason)

    _tell(anyio.run(run), as_json=as_json)


def _chosen(given: Any, now: Any) -> Any:
    return now if given is None else None if given == NONE else given


def _queues(server: Server) -> Queues:
    async def run() -> Queues:
        async with connected(server.url, server.token) as client:
            return await Operations(client).queues()

    return anyio.run(run)


def _steer(
    server: Server, stage: str, what: str, *, reason: str | None, until: str | None = None
) -> Held:
    async def run() -> Held:
        async with connected(server.url, server.token) as client:
            return await Operations(client).steer(stage, what, reason=reason, until=until)

    return anyio.run(run)


def _tell(held: Held, *, as_json: bool) -> None:
    if as_json:
        say_json(msgspec.json.encode(held))
        return
    until = f" until {held.paused_until}" if held.paused_until else ""
    state = f"paused{until}" if held.paused else "running"
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
    console = console_of_table()
    live = Live(console=console, auto_refresh=False)
    with live if console.is_terminal else nullcontext():
        while True:
            shown = table(await operations.queues(), console.width, await _hour(operations))
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                console.print(shown)
            await anyio.sleep(LOOK_S)


async def _hour(operations: Operations) -> dict[str, list[int]]:
    """Return the tasks that waited for each stage in the last hour, oldest first."""
    points = msgspec.json.decode(await operations.ask("GET", "series"), type=Series).items
    stages = {stage for point in points for stage in point.stages}
    return {
        stage: [point.stages[stage].waiting for point in points if stage in point.stages]
        for stage in stages
    }
