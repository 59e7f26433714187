"""``photolog worker``"""

import click

from ops import logs, roles
from ops.commands.options import name_option, with_settings
from ops.settings import Loaded


@click.command()
@click.option("--consumer", hidden=True, help="The name in the consumer groups.")
@click.option("--dead", hidden=True, help="How names of consumers that are known dead begin.")
@name_option
@with_settings("concurrency", "decoders")
def command(loaded: Loaded, name: str | None, consumer: str | None, dead: str | None) -> None:
    """Run one worker, with its decoder processes.

    It needs the log (PHOTOLOG_REDIS_URL) and the blobs.
    """
    name = name or roles.standalone_name("worker")
    logs.configure(loaded.settings, name)
    roles.run(roles.worker(loaded.settings, name=name, consumer=consumer, dead=dead))
