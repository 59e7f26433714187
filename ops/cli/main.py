"""The command line: ``photolog COMMAND``. One command, one file in ``ops/cli/``."""

import importlib
import os
import sys
from typing import Any

import click
from click.exceptions import NoSuchCommand

from ops.cli.options import config_option, data_option
from ops.errors import UserError
from ops.event_format import printable
from ops.process import garbage
from store.errors import StoreError

PRIVATE = 0o077
"""The umask of every command and of its child processes: only this user may read their files."""

COMMANDS = {
    "up": "Run all of Photolog on this machine.",
    "upload": "Upload photos: files and whole folders.",
    "import": "Upload the photos of a folder and of the folders in it, each once.",
    "photos": "List photos, newest first.",
    "sessions": "List, show, open and close upload sessions; retry what failed in one.",
    "download": "Download photos into a folder.",
    "delete": "Delete photos: their originals and every picture made from them.",
    "watch": "Show the events of a room as they happen.",
    "history": "Show everything that happened to a photo.",
    "verify": "Check the hash chain of every photo, or of one, in the log.",
    "queues": "Show waiting tasks and workers; pause, resume, drain, cancel and limit stages.",
    "jobs": "List jobs, or show each attempt of one; run, retry, cancel or prioritize it.",
    "dead-letters": "List the jobs that have failed for good; retry or discard them.",
    "backfill": "Run a stage for photos that are already stored.",
    "audit": "List what operators did, when, to what and why.",
    "quotas": "Show what clients use, and set their quotas.",
    "link": "Print a link that signs a browser in.",
    "token": "Print a token for a client.",
    "keys": "List, create and revoke API keys for programs.",
    "webhooks": "List, create and change webhooks, which send events to a URL as they happen.",
    "tokens": "List revocations; revoke tokens; change the key that signs them.",
    "health": "Show the health of each part; the exit status is 1 if one is down.",
    "config": "Show every setting, its value and its source.",
    "reconcile": "Compare the stored files with the log, in both directions.",
    "log": "Show, archive, export, import and recover the log.",
    "projections": "List, rebuild and verify the read models.",
    "gateway": "Run one gateway: HTTP, WebSocket, SSE and the pages.",
    "projector": "Run the projector of this machine.",
    "worker": "Run one worker.",
    "archiver": "Run an archiver: it seals the log into segments, and trims what is sealed.",
    "bench": "Measure how fast Photolog is, next to the limits of what it runs on.",
}
"""Each command and its line in ``--help``, so that help imports no command."""


MODULES = {"import": "import_photos"}
"""Modules of commands whose name is a word of Python."""


class _Photolog(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = MODULES.get(cmd_name) or cmd_name.replace("-", "_")
        with garbage.no_collections():
            return importlib.import_module(f"ops.cli.{module}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:  # knows no names, because commands are loaded by need
            raise NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        before = os.umask(PRIVATE)
        try:
            return super().invoke(ctx)
        except (UserError, StoreError) as error:
            lines = map(printable, _sentence(str(error)).split("\n"))
            raise click.ClickException("\n".join(lines)) from error
        except KeyboardInterrupt:
            ctx.exit(130)  # 128 + SIGINT, as in shells
        finally:
            os.umask(before)


def _sentence(text: str) -> str:
    """Capitalize the first letter unless the text begins with a variable, a path or a URL."""
    word = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if word.isalpha() else text


@click.group(
    cls=_Photolog,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@config_option
@data_option
@click.version_option(package_name="photolog")
def main() -> None:
    """Photolog keeps photos, and everything that happened to them.

    Start with `photolog up`. Other commands find the running system through its data folder.
    """


if __name__ == "__main__":
    sys.exit(main(prog_name="photolog"))
