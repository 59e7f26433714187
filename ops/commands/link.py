"""``photolog link``"""

import anyio
import click

from ops.client import Server
from ops.commands.server import with_server
from ops.lines import say
from ops.links import make_link


@click.command()
@with_server
def command(server: Server) -> None:
    """Print a link that signs a browser in, and nothing else.

    The link works once and only for some minutes (PHOTOLOG_TICKET_TTL_S). The browser stays signed
    in as long as the token that the link was made with is valid.
    """
    say(anyio.run(make_link, server))
