"""``photolog config``"""

import json
import shutil
import textwrap
from typing import Any

import click
import msgspec

from ops.cli.options import url_option, with_settings
from ops.client.text_table import console, table
from ops.config.loading import MASK, Loaded, describe, hint, parts, shown
from ops.config.settings import PREFIX, variable_of
from ops.errors import UserError
from ops.event_format import printable, say, say_json

VALUE_CHARS = 15
"""The width of the column of values; few values are longer."""

SOURCE_CHARS = 11

BROKEN: dict[str, Any] = {
    "subsequent_indent": " " * 6,
    "break_long_words": False,
    "break_on_hyphens": False,
}
"""How to wrap a line that is too long for the terminal; names and values are not split."""

NO_TERMINAL = (10_000, 24)
"""The size without a terminal: lines that a program reads are not wrapped."""


@click.command()
@click.argument("names", nargs=-1, metavar="[SETTING]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--running", is_flag=True, help="Ask the running gateway instead of reading the settings here."
)
@url_option
@with_settings()
def command(
    loaded: Loaded, names: tuple[str, ...], as_json: bool, running: bool, url: str | None
) -> None:
    """Show every setting, its value and its source.

    Secrets are masked. Set `port`, for example, with the variable PHOTOLOG_PORT, or with the line
    `port = 3000` in the file that --config or PHOTOLOG_CONFIG names. `photolog config port` shows
    this one setting in full.
    """
    wanted = [_named(name, loaded) for name in names]
    if running:
        _tell_running(loaded, url, wanted, as_json=as_json)
    elif as_json:
        say_json(
            json.dumps({name: _facts(name, loaded) for name in wanted or loaded.sources}, indent=2)
        )
    elif wanted:
        say("\n\n".join(_described(name, loaded) for name in wanted))
    else:
        _list(loaded)


class _Running(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: str | None
    source: str


class _Settings(msgspec.Struct, frozen=True, kw_only=True):
    items: list[_Running]


def _tell_running(loaded: Loaded, url: str | None, wanted: list[str], *, as_json: bool) -> None:
    """Print the settings that the gateway runs with."""
    from ops.cli.running import settings_of  # noqa: PLC0415 # an HTTP client only where it is used

    content = settings_of(loaded.settings, url)
    items = msgspec.json.decode(content, type=_Settings).items
    found = [each for each in items if not wanted or each.name in wanted]
    if as_json:
        facts = {each.name: {"value": each.value, "source": each.source} for each in found}
        say_json(json.dumps(facts, indent=2))
        return
    rows = [(variable_of(each.name), each.value or "unset", each.source) for each in found]
    console().print(table(("Setting", "Value", "Source"), rows))


def _named(text: str, loaded: Loaded) -> str:
    name = text.lower().removeprefix(PREFIX.lower())
    if name not in loaded.sources:
        raise UserError(f"unknown setting {text}{hint(text)}")
    return name


def _list(loaded: Loaded) -> None:
    """List the settings by part, one a line, wrapped if the terminal is too narrow."""
    columns = shutil.get_terminal_size(NO_TERMINAL).columns
    width = max(len(variable_of(name)) for name in loaded.sources)
    for number, (title, names) in enumerate(parts().items()):
        click.secho(f"\n{title}" if number else title, bold=True)
        for name in names:
            value = shown(name, getattr(loaded.settings, name))
            source, _, _ = loaded.sources[name].partition(" ")
            meaning = describe(name)[0]
            facts = printable(
                f"  {variable_of(name):<{width}}  {value:<{VALUE_CHARS}}  {source:<{SOURCE_CHARS}}"
            )
            if len(facts) + 2 + len(meaning) <= columns:
                click.echo(f"{facts}  {click.style(meaning, dim=True)}")
            else:
                say(textwrap.fill(f"{facts}  {meaning}", columns, **BROKEN))


def _described(name: str, loaded: Loaded) -> str:
    meaning, accepted = describe(name)
    rows = {
        "variable": variable_of(name),
        "value": shown(name, getattr(loaded.settings, name)),
        "from": loaded.sources[name],
        "accepts": accepted,
        "means": meaning,
    }
    return "\n".join([name, *(f"  {key:<8}  {value}" for key, value in rows.items())])


def _facts(name: str, loaded: Loaded) -> dict[str, object]:
    value = getattr(loaded.settings, name)
    return {"value": _json(name, value), "source": loaded.sources[name]}


def _json(name: str, value: object) -> object:
    masked = value is not None and shown(name, value) != str(value)
    return (MASK if name == "secret" else shown(name, value)) if masked else value
