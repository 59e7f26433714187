"""Options that several commands share, and the settings that the commands get from them."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from ops.config.loading import Loaded, describe, load, shown
from ops.config.settings import Settings, variable_of
from ops.event_format import say

Function = TypeVar("Function", bound=Callable[..., Any])


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep the option for ``loaded_settings``; the one nearest to the command wins."""
    if value is not None:
        ctx.ensure_object(dict)[param.name] = value


def _help(name: str) -> str:
    """Return the meaning of the setting, its variable and its default."""
    default = shown(name, getattr(Settings(), name))
    return f"{describe(name)[0]}  [env var: {variable_of(name)}; default: {default}]"


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PHOTOLOG_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help="Read settings from this TOML file.",
    expose_value=False,
    callback=_remember,
)

data_option = click.option(
    "--data",
    metavar="FOLDER",
    help=_help("data"),
    expose_value=False,
    callback=_remember,
)


url_option = click.option(
    "--url",
    envvar="PHOTOLOG_URL",
    show_envvar=True,
    metavar="URL",
    help="URL of the gateway. Default: that of the gateway on the data folder.",
)


SENTENCE_CHARS = 1_000
"""More than the first sentence of any command's help has."""


class Group(click.Group):
    """A group whose help has the whole first sentence of each command; click cuts it off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        sentences = [
            (name, each.get_short_help_str(SENTENCE_CHARS)) for name, each in self.commands.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(sentences)


class WithDefault(Group):
    """A group whose first command runs if none is named: ``queues --watch``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = list(args)
        while rest and rest[0].partition("=")[0] in ("--config", "--data"):
            rest = rest[1:] if "=" in rest[0] else rest[2:]
        named = bool(rest) and (not rest[0].startswith("-") or rest[0] in ctx.help_option_names)
        if not named:
            ours = args[: len(args) - len(rest)]
            args = [*ours, next(iter(self.commands)), *rest]
        return super().parse_args(ctx, args)


def with_settings(*names: str) -> Callable[[Function], Function]:
    """Pass ``loaded`` to the command, and give it an option for each setting in ``names``.

    Every command also gets ``--config`` and ``--data``.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def command(*args: Any, **kwargs: Any) -> Any:
            return function(*args, loaded=loaded_settings(), **kwargs)

        decorated: Any = command
        for name in reversed(names):
            decorated = click.option(
                f"--{name.replace('_', '-')}",
                metavar=name.upper() if name in ("host", "port") else "N",
                help=_help(name),
                expose_value=False,
                callback=_remember,
            )(decorated)
        return config_option(data_option(decorated))

    return decorate


def loaded_settings() -> Loaded:
    """Load the settings of the current command; warn of variables that are probably misspelt.

    Raises:
        SettingsError: a value is invalid.
    """
    given = cast("dict[str, Any]", click.get_current_context().ensure_object(dict))
    options = {name: value for name, value in given.items() if name != "config"}
    loaded = load(file=given.get("config"), options=options)
    for variable in loaded.unknown:
        say(f"Warning: {variable} is not a setting of Photolog and is ignored.", err=True)
    return loaded


reason_option = click.option(
    "--reason", metavar="TEXT", help="Recorded with the change; `photolog audit` shows it."
)

quiet_option = click.option(
    "--quiet", is_flag=True, help="Do not report at the start which log and folder it uses."
)

name_option = click.option(
    "--name",
    metavar="NAME",
    help="Name of this process in its log lines and on its unfinished files. Use the same name at "
    "each start, and for no other process.",
)
