"""``photolog up``"""

import os
import shlex
import sys

import anyio
import click

from ops.cli.options import with_settings
from ops.config.loading import Loaded
from ops.config.settings import Settings
from ops.errors import UserError
from ops.event_format import say
from ops.process.invocation import program
from ops.runtime.supervisor import up
from ops.telemetry import logs


@click.command()
@with_settings("host", "port", "workers")
def command(loaded: Loaded) -> None:
    """Run all of Photolog on this machine, until Ctrl-C.

    Everything is kept in the data folder: the log in an embedded Valkey server, unless
    PHOTOLOG_REDIS_URL names one, and the photos as files.
    """
    settings = loaded.settings
    logs.configure(settings, "up")

    def announce(url: str) -> None:
        link = _link(settings, url) if sys.stdout.isatty() else None
        say(_welcome(settings, url, link))

    up(settings, announce, loaded.sources)
    say("Photolog has stopped.")


def _link(settings: Settings, url: str) -> str | None:
    """Return a sign-in link. Only a terminal gets one: a journal would keep it."""
    from ops.client.client import find  # noqa: PLC0415 # an HTTP client only where it is used
    from ops.client.links import make_link  # noqa: PLC0415
    from ops.runtime.tokens import LOCAL_CLIENT  # noqa: PLC0415

    server = find(settings, url=url, token=None, client_id=LOCAL_CLIENT, role="client")
    try:
        return anyio.run(make_link, server)
    except UserError as error:
        say(f"Warning: no sign-in link could be made: {error}", err=True)
        return None


def _welcome(settings: Settings, url: str, link: str | None) -> str:
    default = settings.folder == Settings().folder
    data = "" if default else f"--data {shlex.quote(os.fspath(settings.folder))} "
    sign_in = f"{program()} link {data}".rstrip()
    hint = (
        f"(signs you in once; for another link: {sign_in})"
        if link
        else f"(to sign in, get a link: {sign_in})"
    )
    return f"""\
Photolog is ready.

  Open     {link or url}
           {hint}
  Upload   {program()} upload {data}PATH…     (in another terminal)
  Kept in  {settings.folder}
  Stop     Ctrl-C
"""
