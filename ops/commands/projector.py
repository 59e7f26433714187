"""``photolog projector``"""

import click

from ops import logs, roles
from ops.commands.options import name_option, with_settings
from ops.settings import Loaded


@click.command()
@name_option
@with_settings()
def command(loaded: Loaded, name: str | None) -> None:
    """Run the projector of this machine: it folds the log into the read model.

    One for each data folder that a gateway reads; it needs the log (PHOTOLOG_REDIS_URL).
    """
    logs.configure(loaded.settings, name or "projector")
    roles.run(roles.projector(loaded.settings))
