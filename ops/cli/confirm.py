"""Ask before a command changes what is hard to undo."""

import click

from ops.errors import UserError

yes_option = click.option("--yes", is_flag=True, help="Do not ask before acting.")


def confirm(question: str, *, yes: bool) -> None:
    """Ask on standard error, unless ``yes``; a refusal ends the command with status 1.

    Raises:
        UserError: there is no answer, as without a terminal.
    """
    if yes:
        return
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            raise UserError("nobody answered, so nothing was changed: confirm with --yes") from None
        raise
