"""Guards of routes: who may ask, and with which query parameters.

A route rejects a parameter that it does not know: a misspelt filter would show everything. It
rejects one that came twice: nobody can say which one was meant.
"""

from collections.abc import Callable
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from gateway.auth import Principal
from gateway.negotiation import negotiate
from gateway.problems import Refused, choices, use_one_of

Asking = ASGIConnection[Any, Any, Any, Any]

SHOWN = 40
"""Characters of a wrong name that the answer repeats."""


def allowed(check: Callable[[Principal], Principal]) -> Callable[[Asking, BaseRouteHandler], None]:
    """A guard that lets requests pass whose principal ``check`` lets pass.

    A guard, not a line of the route: nothing of the request is looked at before it is known that it
    is allowed, neither its parameters nor its body. So it stands before the other guards.
    """

    def guard(connection: Asking, _handler: BaseRouteHandler) -> None:
        check(connection.user)

    return guard


def only(*names: str) -> Callable[[Asking, BaseRouteHandler], None]:
    """A guard that lets requests pass if they have no other query parameters, and none twice.

    It raises Refused.
    """

    def guard(connection: Asking, handler: BaseRouteHandler) -> None:
        for name, value in connection.query_params.items():
            if name not in names:
                detail = f"There is no query parameter {name[:SHOWN]!r}."
                advice = f"Use {', '.join(names)}." if names else "Leave it out."
                raise Refused("invalid-request", detail, advice=advice)
            if len(connection.query_params.getall(name)) > 1:
                detail = f"The query parameter {name!r} came twice."
                raise Refused("invalid-request", detail, advice="Send it once.")
            values = choices(handler, name)
            if values and value.lower() == "null":  # which would count as left out
                detail = f"{name}: cannot be {value!r}"
                raise Refused("invalid-request", detail, advice=use_one_of(values))

    return guard


async def bodiless(request: Request[Any, Any, Any]) -> None:
    """Let a request pass that has no body; raises Refused, and as ``negotiate``."""
    await negotiate(request)
    body = (await request.body()).strip()
    if body not in (b"", b"{}", b"null"):
        raise Refused(
            "invalid-request", "This endpoint takes no request body.", advice="Send none."
        )
