"""``photolog archiver``"""

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
    """Run an archiver: it seals the log into segments, and trims what is sealed.

    A system needs one. More than one does no harm: each partition has one at a time. It uses the
    log at PHOTOLOG_REDIS_URL or, if that is not set, the log of the `photolog up` on its data
    folder, and stores the segments beside the photos.
    """
    name = name or roles.standalone_name("archiver")
    logs.configure(loaded.settings, name, quiet=quiet)
    roles.run(roles.archiver(loaded.settings, name=name))
