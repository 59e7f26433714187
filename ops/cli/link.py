"""``photolog link``"""

import anyio
import click

from ops.cli.server import with_server
from ops.client.client import Server
from ops.client.links import make_link
from ops.event_format import say


@click.command()
@with_server
def command(server: Server) -> None:
    """Print a link that signs a browser in, and nothing else.

    The link works once and only for some minutes (PHOTOLOG_TICKET_TTL_S). The browser stays signed
    in as long as the token that the link was made with is valid.
    """
    say(anyio.run(make_link, server))
