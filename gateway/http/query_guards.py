"""Guards of routes: check the role of the sender, the query parameters and an absent body.

A route rejects an unknown query parameter, because a misspelt filter would return everything. It
rejects a duplicate, because its meaning is ambiguous. It accepts integers in plain decimal digits
only, in queries, paths and forms: libraries also parse ``1e1``, ``1_0`` and digits of other
scripts.
"""

from collections.abc import Callable
from typing import Any, get_args

from litestar import Request
from litestar.handlers import BaseRouteHandler

from gateway.http.auth import Principal
from gateway.http.bearer import Connection
from gateway.http.negotiation import negotiate
from gateway.http.problems import Refused, choices, parameter_of, use_one_of

MOST_DIGITS = 18
"""Any number of so many digits fits into an integer of SQLite."""

SHOWN = 40
"""The most characters of a wrong name that an answer repeats."""


def is_decimal(text: str) -> bool:
    """Return whether ``text`` is a natural number in at most 18 of the digits 0 to 9."""
    return len(text) <= MOST_DIGITS and text.isascii() and text.isdigit()


def allowed(
    check: Callable[[Principal], Principal],
) -> Callable[[Connection, BaseRouteHandler], None]:
    """Return a guard that passes a request if ``check`` accepts its principal.

    It is a guard and stands before the other guards, so that neither parameters nor body are read
    before the request is known to be allowed.
    """

    def guard(connection: Connection, _handler: BaseRouteHandler) -> None:
        check(connection.user)

    return guard


def only(*names: str, repeated: str = "") -> Callable[[Connection, BaseRouteHandler], None]:
    """Return a guard that rejects unknown and duplicate query parameters; it raises Refused.

    The parameter ``repeated`` may come several times. The guard also rejects integers in the query
    or path that are not plain decimal digits.
    """

    def guard(connection: Connection, handler: BaseRouteHandler) -> None:
        for name, value in connection.path_params.items():
            if _is_integer(handler, name) and not is_decimal(value):
                raise Refused("not-found", "This address does not exist.")
        for name, value in connection.query_params.items():
            if name not in names:
                detail = f"Unknown query parameter {name[:SHOWN]!r}."
                advice = f"Use {', '.join(names)}." if names else "Remove it."
                raise Refused("invalid-request", detail, advice=advice)
            if name != repeated and len(connection.query_params.getall(name)) > 1:
                detail = f"Duplicate query parameter {name!r}."
                several = ", with commas between the values" if name.endswith("Ids") else ""
                raise Refused("invalid-request", detail, advice=f"Send it once{several}.")
            if _is_integer(handler, name) and not is_decimal(value):
                got = repr(value[:SHOWN])
                detail = f"{name}: must be an integer in the digits 0 to 9 (got {got})"
                raise Refused("invalid-request", detail)
            values = choices(handler, name)
            if values and value.lower() == "null":  # the framework would treat it as missing
                detail = f"{name}: cannot be {value!r}"
                raise Refused("invalid-request", detail, advice=use_one_of(values))

    return guard


def _is_integer(handler: BaseRouteHandler, name: str) -> bool:
    parameter = parameter_of(handler, name)
    return parameter is not None and int in (parameter.annotation, *get_args(parameter.annotation))


async def bodiless(request: Request[Any, Any, Any]) -> None:
    """Pass a request that has no body; raises Refused, and whatever ``negotiate`` raises."""
    await negotiate(request)
    body = (await request.body()).strip()
    if body not in (b"", b"{}", b"null"):
        raise Refused(
            "invalid-request", "This endpoint takes no request body.", advice="Send no body."
        )
