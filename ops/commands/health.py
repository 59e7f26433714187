"""``photolog health``"""

import re
from typing import Any, cast

import anyio
import click
import httpx
import msgspec

from ops.client import Problem, connected, url_in
from ops.commands.options import with_settings
from ops.lines import printable, say_json
from ops.loading import Loaded

COLOURS = {"ok": "green", "degraded": "yellow", "down": "red"}


class _Health(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    checks: dict[str, dict[str, Any]] = {}


@click.command()
@click.option(
    "--url",
    envvar="PHOTOLOG_URL",
    show_envvar=True,
    metavar="URL",
    help="Of the gateway. Default: the one on the data folder.",
)
@click.option("--json", "as_json", is_flag=True, help="The answer as it is.")
@with_settings()
def command(loaded: Loaded, url: str | None, as_json: bool) -> None:
    """Say how the system is; exit status 1 if it is down."""
    asked = url or url_in(loaded.settings)

    async def run() -> httpx.Response:
        async with connected(asked) as client:
            return await client.get("/health")

    response = anyio.run(run)
    try:
        health = msgspec.json.decode(response.content, type=_Health)
    except msgspec.MsgspecError as error:
        raise click.ClickException(f"{asked} says: {Problem.of(response)}") from error
    if as_json:
        say_json(response.content)
    else:
        click.echo(f"{_coloured(health.status)}  {asked}")
        for name, check in health.checks.items():
            status = _coloured(str(check.get("status")))
            click.echo(f"  {_words(name):<16}  {status}  {printable(_details(check))}".rstrip())
    if not response.is_success:
        raise click.exceptions.Exit(1)


def _details(check: dict[str, Any]) -> str:
    said = {key: value for key, value in check.items() if key != "status"}
    return ", ".join(
        str(value) if key == "reason" else _say(key, value) for key, value in said.items()
    )


def _say(key: str, value: object) -> str:
    """What a check has found, in words; as it came where it is newer than this command."""
    match key, value:
        case "latencyMs", int() | float():
            return f"done in {value:,.1f} ms"
        case "freeBytes", int():
            return f"{value / 1e9:,.1f} GB free"
        case "lagMs", 0:
            return "has all events"
        case "lagMs", int():
            return f"{value / 1000:,.1f} s behind"
        case "integrity", "ok":
            return "file intact"
        case "integrity", "damaged":
            return "file damaged, `photolog projections rebuild` makes it anew"
        case "integrity", "unknown":
            return "file too large to look through now"
        case "memoryUsedPercent", int() | float():
            return f"{value:.0f} % of memory in use"
        case "loadPerProcessor", int() | float():
            return f"load of {value:g} a processor"
        case "workers", int():
            none = "no worker reports, `photolog worker` starts one"
            return f"{value:,} alive" if value else none
        case "paused", list():
            stages = ", ".join(str(stage) for stage in cast("list[object]", value))
            return f"paused: {stages} (`photolog queues resume` goes on)"
        case _:
            return f"{_words(key)} {value}"


def _words(name: str) -> str:
    """``systemResources`` as ``system resources``."""
    return re.sub("(?=[A-Z])", " ", printable(name)).lower()


def _coloured(status: str) -> str:
    return click.style(f"{printable(status):<8}", fg=COLOURS.get(status))
