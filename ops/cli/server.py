"""Options that say which gateway a command calls, and as which client.

They are apart from ``options`` because httpx takes long to import.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from ops.cli.options import url_option, with_settings
from ops.client.client import find
from ops.config.loading import Loaded
from ops.runtime.tokens import LOCAL_CLIENT

Function = TypeVar("Function", bound=Callable[..., Any])


IDENTITY_HELP = {
    "client": "Client that the default token is for.",
    "operator": "Client that the default token is for: who you are, not a filter.",
}


def _with_server_as(role: str, identity: str = "--client") -> Callable[[Function], Function]:
    """Pass ``server`` to the command, and give it the options that choose it.

    ``identity`` is the option that names the client to act as.
    """

    def decorate(function: Function) -> Function:
        @url_option
        @click.option(
            "--token",
            envvar="PHOTOLOG_TOKEN",
            show_envvar=True,
            metavar="TOKEN",
            help="Token to use. Default: one signed with the secret of the data folder.",
        )
        @click.option(
            identity,
            "acting_as",
            metavar="ID",
            default=LOCAL_CLIENT,
            show_default=True,
            help=IDENTITY_HELP[role],
        )
        @click.option(
            "--role",
            type=click.Choice(["client", "operator", "auditor"]),
            default=role,
            show_default=True,
            help="Role of the default token; see `photolog token --help`.",
        )
        @with_settings()
        @functools.wraps(function)
        def command(
            *args: Any,
            loaded: Loaded,
            url: str | None,
            token: str | None,
            acting_as: str,
            role: str,
            **kwargs: Any,
        ) -> Any:
            server = find(loaded.settings, url=url, token=token, client_id=acting_as, role=role)
            return function(*args, server=server, **kwargs)

        return cast("Function", command)

    return decorate


with_server = _with_server_as("client")
as_operator = _with_server_as("operator")
as_operator_of_clients = _with_server_as("operator", "--as")
"""For commands whose ``--client`` names the client that they are about."""
