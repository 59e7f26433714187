"""``photolog token``"""

import click

from ops.commands.options import with_settings
from ops.lines import say
from ops.loading import Loaded
from ops.tokens import LOCAL_CLIENT, mint, parse_ttl


@click.command()
@click.option(
    "--client",
    "client_id",
    default=LOCAL_CLIENT,
    show_default=True,
    metavar="ID",
    help="Whom the token is for.",
)
@click.option(
    "--role",
    type=click.Choice(["client", "operator", "auditor"]),
    default="client",
    show_default=True,
    help="client: its own photos; operator: everything; auditor: read everything, change nothing.",
)
@click.option(
    "--ttl", default="30d", show_default=True, help="How long it is valid: 30d, 12h, 90m."
)
@with_settings()
def command(loaded: Loaded, client_id: str, role: str, ttl: str) -> None:
    """Print a token for a client, and nothing else.

    It is signed with the secret of the data folder, or with PHOTOLOG_SECRET.
    """
    say(mint(loaded.settings, client_id, role, parse_ttl(ttl)))
