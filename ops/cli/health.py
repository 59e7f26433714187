"""``photolog health``"""

import re
from typing import Any, cast

import anyio
import click
import httpx
import msgspec

from ops.cli.options import with_settings
from ops.client.client import Problem, connected, url_in
from ops.config.loading import Loaded
from ops.event_format import printable, say_json

COLOURS = {"ok": "green", "degraded": "yellow", "down": "red"}


_NUMBERS = {
    "latencyMs": (1, "done in {:,.1f} ms"),
    "freeBytes": (1e9, "{:,.1f} GB free"),
    "lagMs": (1e3, "{:,.1f} s behind"),
    "memoryUsedPercent": (1, "{:.0f} % of memory in use"),
    "loadPerProcessor": (1, "load of {:g} a processor"),
    "memoryBytes": (1e6, "{:,.1f} MB of memory in use"),
    "memoryMaxBytes": (1e6, "of {:,.1f} MB"),
    "workers": (1, "{:,.0f} alive"),
    "open": (1, "{:,.0f} open"),
    "max": (1, "{:,.0f} at most"),
}
"""The unit in which a number is told, and how."""

_NOTHING = {"lagMs": "has all events", "memoryMaxBytes": "no limit set on the server"}

_INTEGRITY = {
    "ok": "file intact",
    "damaged": "file damaged (`photolog projections rebuild` replaces it)",
    "unknown": "file not checked yet, which takes longer than health waits",
}


_SANDBOX = {
    "memory-limit": "decoders set their own memory limits (the worker lacks CAP_SYS_RESOURCE)",
    "own-user": "decoders run as the worker's user (the worker is not root)",
    "landlock": "no Landlock (seccomp forbids the same)",
    "landlock-network": "Landlock without network rules (seccomp forbids the same)",
    "landlock-signals": "Landlock without signal rules (seccomp forbids the same)",
}
"""What the sandbox of the decoders may lack, as long as seccomp is there: why, and what does it."""


class _Health(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    checks: dict[str, dict[str, Any]] = {}


@click.command()
@click.option(
    "--url",
    envvar="PHOTOLOG_URL",
    show_envvar=True,
    metavar="URL",
    help="URL of the gateway. Default: that of the gateway on the data folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@with_settings()
def command(loaded: Loaded, url: str | None, as_json: bool) -> None:
    """Show the health of each part; the exit status is 1 if one is down."""
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
    reason = "{}" if check.get("status") != "ok" else "note: {}"
    return ", ".join(
        reason.format(value) if key == "reason" else _say(key, value) for key, value in said.items()
    )


def _say(key: str, value: object) -> str:
    """What a check has found, in words; as it came where it is newer than this command."""
    match key, value:
        case "lagMs" | "memoryMaxBytes", 0:
            return _NOTHING[key]
        case "integrity", str():
            return _INTEGRITY.get(value, f"integrity {value}")
        case "workers", 0:
            return "no worker reports, `photolog worker` starts one"
        case "paused", list():
            return _say_paused([str(each) for each in cast("list[object]", value)])
        case "decodersWithout", list():
            return _say_sandbox([str(each) for each in cast("list[object]", value)])
        case _, int() | float() if key in _NUMBERS:
            unit, form = _NUMBERS[key]
            return form.format(value / unit)
        case _:
            return f"{_words(key)} {value}"


def _say_paused(stages: list[str]) -> str:
    return f"paused by an operator: {', '.join(stages)} (`photolog queues resume {stages[0]}`)"


def _say_sandbox(missing: list[str]) -> str:
    """Tell what other layers make up for from what is to be mended."""
    if all(name in _SANDBOX for name in missing):
        return f"no action needed: {', '.join(_SANDBOX[name] for name in missing)}"
    return f"decoders run without {', '.join(missing)}"


def _words(name: str) -> str:
    """``systemResources`` as ``system resources``."""
    return re.sub("(?=[A-Z])", " ", printable(name)).lower()


def _coloured(status: str) -> str:
    return click.style(f"{printable(status):<8}", fg=COLOURS.get(status))
