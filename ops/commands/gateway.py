"""``photolog gateway``"""

import click

from ops import logs, roles
from ops.commands.options import name_option, quiet_option, with_settings
from ops.loading import Loaded


@click.command()
@click.option("--fd", type=int, hidden=True, help="A socket that listens already.")
@name_option
@quiet_option
@with_settings("host", "port")
def command(loaded: Loaded, name: str | None, fd: int | None, quiet: bool) -> None:
    """Run one gateway: HTTP, WebSocket, SSE and the pages.

    It joins the log of PHOTOLOG_REDIS_URL, or else that of the `photolog up` on its data folder,
    where the photos and the read model are too. The same folder needs a projector.
    """
    name = name or roles.standalone_name("gateway")
    logs.configure(loaded.settings, name, quiet=quiet)
    roles.run(roles.gateway(loaded.settings, name=name, fd=fd))
