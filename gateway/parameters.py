"""What a route does not know is refused: a misspelt filter would show all, a reason be lost.

So is what came twice: nobody can say which one was meant."""

from collections.abc import Callable
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from gateway.problems import Refused

Asking = ASGIConnection[Any, Any, Any, Any]

SHOWN = 40
"""Characters of a wrong name that the answer repeats."""


def only(*names: str) -> Callable[[Asking, BaseRouteHandler], None]:
    """A guard that lets requests pass if they have no other query parameters, and none twice.

    It raises Refused.
    """

    def guard(connection: Asking, _handler: BaseRouteHandler) -> None:
        for name in connection.query_params:
            if name not in names:
                detail = f"There is no query parameter {name[:SHOWN]!r}."
                advice = f"Use {', '.join(names)}." if names else "Leave it out."
                raise Refused("invalid-request", detail, advice=advice)
            if len(connection.query_params.getall(name)) > 1:
                detail = f"The query parameter {name!r} came twice."
                raise Refused("invalid-request", detail, advice="Send it once.")

    return guard


async def bodiless(request: Request[Any, Any, Any]) -> None:
    """Lets requests pass that say nothing in their body; raises Refused."""
    body = (await request.body()).strip()
    if body not in (b"", b"{}", b"null"):
        raise Refused("invalid-request", "There is nothing to say in a body.", advice="Send none.")
