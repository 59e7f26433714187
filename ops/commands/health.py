"""``photolog health``"""

from typing import Any

import anyio
import click
import httpx
import msgspec

from ops.client import Problem, connected, url_in
from ops.commands.options import with_settings
from ops.lines import printable
from ops.settings import Loaded

COLOURS = {"ok": "green", "degraded": "yellow", "down": "red"}


class _Health(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    checks: dict[str, dict[str, Any]] = {}


@click.command()
@click.option(
    "--url", envvar="PHOTOLOG_URL", help="Of the gateway. Default: the one on the data folder."
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
        click.echo(response.content)
    else:
        click.echo(f"{_coloured(health.status)}  {asked}")
        for name, check in health.checks.items():
            details = ", ".join(
                f"{key} {value}" if isinstance(value, str) else f"{key} {value:,}"
                for key, value in check.items()
                if key != "status"
            )
            click.echo(f"  {name:<10}  {_coloured(check['status'])}  {printable(details)}".rstrip())
    if not response.is_success:
        raise click.exceptions.Exit(1)


def _coloured(status: str) -> str:
    return click.style(f"{printable(status):<8}", fg=COLOURS.get(status))
