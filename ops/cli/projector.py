"""``photolog projector``"""

import click

from ops.cli.options import name_option, quiet_option, with_settings
from ops.config.loading import Loaded
from ops.runtime import roles
from ops.telemetry import logs


@click.command()
@name_option
@quiet_option
@with_settings()
def command(loaded: Loaded, name: str | None, quiet: bool) -> None:
    """Run the projector of this machine: it folds the log into the read model.

    Each data folder that a gateway reads needs one. It uses the log at PHOTOLOG_REDIS_URL or, if
    that is not set, the log of the `photolog up` on its data folder.
    """
    name = name or "projector"
    logs.configure(loaded.settings, name, quiet=quiet)
    roles.run(roles.projector(loaded.settings, name=name))
