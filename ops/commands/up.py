"""``photolog up``"""

import os
import shlex

import click

from ops import logs
from ops.commands.options import with_settings
from ops.invocation import program
from ops.lines import say
from ops.loading import Loaded
from ops.settings import Settings
from ops.supervisor import up
from ops.tokens import LOCAL_CLIENT, mint, parse_ttl

LOGIN_TTL = "30d"


@click.command()
@with_settings("host", "port", "workers")
def command(loaded: Loaded) -> None:
    """Run all of Photolog on this machine, until Ctrl-C.

    Everything is kept in the data folder: the log in an embedded Valkey server, unless
    PHOTOLOG_REDIS_URL names one, and the pictures as files.
    """
    settings = loaded.settings
    logs.configure(settings, "up")

    def announce(url: str) -> None:
        token = mint(settings, LOCAL_CLIENT, "client", parse_ttl(LOGIN_TTL))
        say(_welcome(settings, url, token))

    up(settings, announce)
    say("Photolog has stopped.")


def _welcome(settings: Settings, url: str, token: str) -> str:
    default = settings.folder == Settings().folder
    data = "" if default else f"--data {shlex.quote(os.fspath(settings.folder))} "
    return f"""\
Photolog is ready.

  Open     {url}/#token={token}
  Upload   {program()} upload {data}PATH…     (in another terminal)
  Kept in  {settings.folder}
  Stop     Ctrl-C
"""
