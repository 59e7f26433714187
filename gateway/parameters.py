"""Query parameters that a route does not know are refused: a misspelt filter would show all."""

from collections.abc import Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from gateway.problems import Refused

Asking = ASGIConnection[Any, Any, Any, Any]

SHOWN = 40
"""Characters of a wrong name that the answer repeats."""


def only(*names: str) -> Callable[[Asking, BaseRouteHandler], None]:
    """A guard that lets requests pass if they have no other query parameters; raises Refused."""

    def guard(connection: Asking, _handler: BaseRouteHandler) -> None:
        for name in connection.query_params:
            if name not in names:
                detail = f"There is no query parameter {name[:SHOWN]!r}."
                raise Refused("invalid-request", detail, advice=f"Use {', '.join(names)}.")

    return guard
