"""``photolog health``"""

import re
from typing import Any, cast

import anyio
import click
import httpx
import msgspec

from ops.cli.options import url_option, with_settings
from ops.client.client import Problem, connected, url_in
from ops.client.text_table import hanging
from ops.config.loading import Loaded
from ops.event_format import printable, say_json, sized

STATUS_WIDTH = 8

COLOURS = {"ok": "green", "degraded": "yellow", "down": "red"}


_NUMBERS = {
    "latencyMs": (1, "done in {:,.1f} ms"),
    "lagMs": (1e3, "{:,.1f} s behind"),
    "memoryUsedPercent": (1, "{:.0f} % of memory in use"),
    "loadPerProcessor": (1, "load of {:g} a processor"),
    "workers": (1, "{:,.0f} alive"),
    "behindMs": (1e3, "the last one {:,.0f} s behind"),
    "failing": (1, "{:,.0f} failing"),
    "disabled": (1, "{:,.0f} disabled by failures"),
    "open": (1, "{:,.0f} open"),
    "max": (1, "{:,.0f} at most"),
}
"""The unit of each number, and its text."""

_SIZES = {"freeBytes": "{} free", "memoryBytes": "{} of memory in use", "memoryMaxBytes": "of {}"}

_ZERO = {"lagMs": "has all events", "memoryMaxBytes": "no limit set on the server"}

_INTEGRITY = {
    "ok": "file intact",
    "damaged": "file damaged (`photolog projections rebuild` replaces it)",
    "unknown": "file not checked yet (the check takes longer than health waits)",
}


_SANDBOX = {
    "memory-limit": "decoders set their own memory limits (the worker lacks CAP_SYS_RESOURCE)",
    "own-user": "decoders run as the worker's user (the worker is not root)",
    "landlock": "no Landlock (seccomp forbids the same)",
    "landlock-network": "Landlock without network rules (seccomp forbids the same)",
    "landlock-signals": "Landlock without signal rules (seccomp forbids the same)",
}
"""Layers that the sandbox of the decoders may lack, and what protects instead."""


class _Health(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    checks: dict[str, dict[str, Any]] = {}


@click.command()
@url_option
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
        raise click.ClickException(f"{asked} answered: {Problem.of(response)}") from error
    if as_json:
        say_json(response.content)
    else:
        click.echo(f"{_coloured(health.status)}  {asked}")
        for name, check in health.checks.items():
            status = _coloured(str(check.get("status")))
            start = f"  {_words(name):<16}  "
            indent = " " * (len(start) + STATUS_WIDTH + len("  "))
            details = hanging(indent, printable(_details(check))).removeprefix(indent)
            click.echo(f"{start}{status}  {details}".rstrip())
    if not response.is_success:
        raise click.exceptions.Exit(1)


def _details(check: dict[str, Any]) -> str:
    told = ("status", "unserved")  # the reason names the stages that no worker runs
    facts = {key: value for key, value in check.items() if key not in told}
    reason = "{}" if check.get("status") != "ok" else "note: {}"
    return ", ".join(
        reason.format(value) if key == "reason" else _in_words(key, value)
        for key, value in facts.items()
    )


def _in_words(key: str, value: object) -> str:
    """Describe a finding of a check; one that is unknown here is shown as it is."""
    match key, value:
        case "lagMs" | "memoryMaxBytes", 0:
            return _ZERO[key]
        case "integrity", str():
            return _INTEGRITY.get(value, f"integrity {value}")
        case "workers", 0:
            return "no worker reports (`photolog worker` starts one)"
        case "paused", list():
            return _paused([str(each) for each in cast("list[object]", value)])
        case "draining", list():
            stages = ", ".join(str(each) for each in cast("list[object]", value))
            return f"tasks still running in {stages}"
        case "decodersWithout", list():
            return _sandbox([str(each) for each in cast("list[object]", value)])
        case _, int() | float() if key in _SIZES:
            return _SIZES[key].format(sized(value))
        case _, int() | float() if key in _NUMBERS:
            unit, form = _NUMBERS[key]
            return form.format(value / unit)
        case _:
            return f"{_words(key)} {value}"


def _paused(stages: list[str]) -> str:
    return f"paused by an operator: {', '.join(stages)} (`photolog queues resume {stages[0]}`)"


def _sandbox(missing: list[str]) -> str:
    """Distinguish missing layers that others make up for from those that need action."""
    if all(name in _SANDBOX for name in missing):
        reasons = ", ".join(_SANDBOX[name] for name in missing)
        return f"sandbox needs no action: {reasons}"
    return f"decoders run without {', '.join(missing)}"


def _words(name: str) -> str:
    """Turn ``systemResources`` into ``system resources``."""
    return re.sub("(?=[A-Z])", " ", printable(name)).lower()


def _coloured(status: str) -> str:
    return click.style(f"{printable(status):<{STATUS_WIDTH}}", fg=COLOURS.get(status))
