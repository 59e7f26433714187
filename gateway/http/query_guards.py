"""Guards of routes: who may ask, and with which parameters.

A route rejects a query parameter that it does not know: a misspelt filter would show everything. It
rejects one that came twice: nobody can say which one was meant. An integer has plain decimal digits
wherever it stands: libraries would take ``1e1``, ``1_0`` and digits of other scripts for numbers.
"""

from collections.abc import Callable
from typing import Any, get_args

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from gateway.http.auth import Principal
from gateway.http.negotiation import negotiate
from gateway.http.problems import Refused, choices, use_one_of

MOST_DIGITS = 18
"""Fits the integers of SQLite, with every digit."""

Asking = ASGIConnection[Any, Any, Any, Any]

SHOWN = 40
"""Characters of a wrong name that the answer repeats."""


def is_decimal(text: str) -> bool:
    """Whether ``text`` is a natural number as parameters have it, in the digits 0 to 9."""
    return len(text) <= MOST_DIGITS and text.isascii() and text.isdigit()


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

    Integers are decimal, in the path too. It raises Refused.
    """

    def guard(connection: Asking, handler: BaseRouteHandler) -> None:
        for name, value in connection.path_params.items():
            if _is_integer(handler, name) and not is_decimal(value):
                raise Refused("not-found", "There is nothing at this address.")
        for name, value in connection.query_params.items():
            if name not in names:
                detail = f"There is no query parameter {name[:SHOWN]!r}."
                advice = f"Use {', '.join(names)}." if names else "Leave it out."
                raise Refused("invalid-request", detail, advice=advice)
            if len(connection.query_params.getall(name)) > 1:
                detail = f"The query parameter {name!r} came twice."
                raise Refused("invalid-request", detail, advice="Send it once.")
            if _is_integer(handler, name) and not is_decimal(value):
                got = repr(value[:SHOWN])
                detail = f"{name}: must be an integer in the digits 0 to 9 (got {got})"
                raise Refused("invalid-request", detail)
            values = choices(handler, name)
            if values and value.lower() == "null":  # which would count as left out
                detail = f"{name}: cannot be {value!r}"
                raise Refused("invalid-request", detail, advice=use_one_of(values))

    return guard


def _is_integer(handler: BaseRouteHandler, name: str) -> bool:
    parameter = handler.parsed_fn_signature.parameters.get(name)
    return parameter is not None and int in (parameter.annotation, *get_args(parameter.annotation))


async def bodiless(request: Request[Any, Any, Any]) -> None:
    """Let a request pass that has no body; raises Refused, and as ``negotiate``."""
    await negotiate(request)
    body = (await request.body()).strip()
    if body not in (b"", b"{}", b"null"):
        raise Refused(
            "invalid-request", "This endpoint takes no request body.", advice="Send none."
        )
