"""``photolog gateway``"""

import click

from ops.cli.options import name_option, quiet_option, with_settings
from ops.config.loading import Loaded
from ops.runtime import roles
from ops.telemetry import logs


@click.command()
@click.option("--fd", type=int, hidden=True, help="The descriptor of a listening socket.")
@name_option
@quiet_option
@with_settings("host", "port")
def command(loaded: Loaded, name: str | None, fd: int | None, quiet: bool) -> None:
    """Run one gateway: HTTP, WebSocket, SSE and the pages.

    It uses the log at PHOTOLOG_REDIS_URL or, if that is not set, the log of the `photolog up` on
    its data folder. That folder also holds the read model, which needs a projector, and the photos
    unless PHOTOLOG_S3_ENDPOINT is set.
    """
    name = name or roles.standalone_name("gateway")
    logs.configure(loaded.settings, name, quiet=quiet)
    roles.run(roles.gateway(loaded.settings, name=name, fd=fd, sources=loaded.sources))
