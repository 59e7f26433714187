"""``photolog worker``"""

import click

from ops.cli.options import name_option, quiet_option, with_settings
from ops.config.loading import Loaded
from ops.runtime import roles
from ops.telemetry import logs


@click.command()
@click.option("--consumer", hidden=True, help="The name in the consumer groups.")
@click.option("--dead", hidden=True, help="Prefix of consumer names that are known to be dead.")
@name_option
@quiet_option
@with_settings("concurrency", "decoders")
def command(
    loaded: Loaded, name: str | None, consumer: str | None, dead: str | None, quiet: bool
) -> None:
    """Run one worker, with its decoder processes.

    It uses the log at PHOTOLOG_REDIS_URL or, if that is not set, the log of the `photolog up` on
    its data folder. The photos are in that folder too, unless PHOTOLOG_S3_ENDPOINT is set.
    """
    name = name or roles.standalone_name("worker")
    logs.configure(loaded.settings, name, quiet=quiet)
    roles.run(roles.worker(loaded.settings, name=name, consumer=consumer, dead=dead))
