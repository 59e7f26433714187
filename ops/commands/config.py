"""``photolog config``"""

import json

import click

from ops.commands.options import with_settings
from ops.settings import MASK, Loaded, describe, shown, variable_of


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@with_settings()
def command(loaded: Loaded, as_json: bool) -> None:
    """Show every setting, its value, and where that came from.

    Secrets are masked. A setting `port` is the variable PHOTOLOG_PORT, or a line `port = 3000` of
    the file that --config or PHOTOLOG_CONFIG names.
    """
    rows = [
        (name, getattr(loaded.settings, name), source) for name, source in loaded.sources.items()
    ]
    if as_json:
        click.echo(
            json.dumps(
                {
                    name: {"value": _json(name, value), "source": source}
                    for name, value, source in rows
                },
                indent=2,
            )
        )
        return
    values = [(variable_of(name), shown(name, value), source) for name, value, source in rows]
    widths = [max(len(row[i]) for row in values) for i in range(2)]
    for (variable, value, source), (name, _, _) in zip(values, rows, strict=True):
        meaning, accepted = describe(name)
        click.echo(f"{variable:<{widths[0]}}  {value:<{widths[1]}}  {source}")
        click.secho(f"    {meaning} Takes {accepted}.", dim=True)


def _json(name: str, value: object) -> object:
    masked = value is not None and shown(name, value) != str(value)
    return (shown(name, value) if name == "redis_url" else MASK) if masked else value
