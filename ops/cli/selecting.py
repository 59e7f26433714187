"""Options that choose photos: by their ids, or by a filter."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast, get_args

import click

from domain.photo.status import Status
from ops.errors import UserError

Function = TypeVar("Function", bound=Callable[..., Any])


def choosing_photos(function: Function) -> Function:
    """Pass ``photo_ids`` and ``filters`` to the command: one of them chooses photos.

    Raises:
        UserError: none or both of them do.
    """

    @click.argument("photo_ids", nargs=-1, metavar="[PHOTO_ID]…")
    @click.option("--all", "every", is_flag=True, help="All photos of the client.")
    @click.option(
        "--status", type=click.Choice(get_args(Status)), help="Only photos with this status."
    )
    @click.option("--session", metavar="ID", help="Only photos of this session.")
    @click.option("--owner", metavar="ID", help="Only photos of this client.")
    @functools.wraps(function)
    def command(
        *args: Any,
        photo_ids: tuple[str, ...],
        every: bool,
        status: str | None,
        session: str | None,
        owner: str | None,
        **kwargs: Any,
    ) -> Any:
        given = {"status": status, "sessionId": session, "clientId": owner}
        filters = {name: value for name, value in given.items() if value is not None}
        if bool(photo_ids) == bool(filters or every):
            raise UserError(
                "name photos by their ids, or choose them by --session, --status, --owner or --all"
            )
        return function(*args, photo_ids=photo_ids, filters=filters, **kwargs)

    return cast("Function", command)
