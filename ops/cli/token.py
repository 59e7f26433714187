"""``photolog token``"""

import click

from ops.cli.options import with_settings
from ops.config.loading import Loaded
from ops.event_format import say
from ops.runtime.tokens import LOCAL_CLIENT, default_ttl_s, mint, parse_ttl


@click.command()
@click.option(
    "--client",
    "client_id",
    default=LOCAL_CLIENT,
    show_default=True,
    metavar="ID",
    help="Client that the token is for.",
)
@click.option(
    "--role",
    type=click.Choice(["client", "operator", "auditor"]),
    default="client",
    show_default=True,
    help="client: its own photos; operator: everything; auditor: read everything, change nothing.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="What it also allows: priority:high allows the priorities 1 to 3. May be repeated.",
)
@click.option(
    "--ttl",
    help="How long it is valid: 30d, 12h or 90m.  [default: 30d, or PHOTOLOG_TOKEN_TTL_MAX_S]",
)
@click.option(
    "--name",
    metavar="NAME",
    help="Name of the person: events name an operator by it instead of by --client.",
)
@with_settings()
def command(
    loaded: Loaded,
    client_id: str,
    role: str,
    scopes: tuple[str, ...],
    ttl: str | None,
    name: str | None,
) -> None:
    """Print a token for a client, and nothing else.

    It is signed with the secret of the data folder, or with PHOTOLOG_SECRET.
    """
    settings = loaded.settings
    ttl_s = default_ttl_s(settings) if ttl is None else parse_ttl(ttl)
    say(mint(settings, client_id, role, ttl_s, scopes, name))
