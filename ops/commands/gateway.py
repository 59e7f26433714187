"""``photolog gateway``"""

import click

from ops import logs, roles
from ops.commands.options import name_option, with_settings
from ops.settings import Loaded


@click.command()
@click.option("--fd", type=int, hidden=True, help="A socket that listens already.")
@name_option
@with_settings("host", "port")
def command(loaded: Loaded, name: str | None, fd: int | None) -> None:
    """Run one gateway: HTTP, WebSocket, SSE and the pages.

    It needs the log (PHOTOLOG_REDIS_URL), the blobs, and a projector on the same data folder.
    """
    name = name or roles.standalone_name("gateway")
    logs.configure(loaded.settings, name)
    roles.run(roles.gateway(loaded.settings, name=name, fd=fd))
