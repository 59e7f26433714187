"""Sign a browser in and out.

A token, or a ticket from a link, is exchanged for a session: a cookie that scripts cannot read and
other sites cannot send. Requests with the ``Origin`` of another site are rejected, so such a site
cannot sign anyone in.
"""

from typing import Annotated

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from gateway.access.access import Access
from gateway.access.cookies import check_cookie_use, check_origin, new_cookie, session_cookie
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import AuthError, Forbidden, Principal, Role, seconds_left
from gateway.http.bearer import bearer
from gateway.http.problems import problems
from gateway.http.query_guards import bodiless, only
from gateway.limits.throttling import Throttle
from gateway.openapi.document import OptionalBody

Asking = Request[None, None, State]


class Login(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The client that a token or session stands for, and how many seconds it remains valid.

    ``token_id`` is null for tokens issued by versions without token ids.
    """

    client_id: str
    role: Role
    scopes: list[str]
    token_id: str | None
    expires_in_s: int


class Preview(Login, frozen=True, kw_only=True, rename="camel"):
    """The client that would be signed in, and ``current``, the one signed in now, or null."""

    current: Login | None


class Current(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``current`` is the client signed in in this browser, or null."""

    current: Login | None


class TicketRequest(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    ticket: Annotated[str, Meta(max_length=100)]


class Ticket(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``path`` appended to the gateway's URL is the sign-in link."""

    ticket: str
    path: str
    expires_in_s: int


@post(
    "/api/login",
    guards=[only()],
    operation_class=OptionalBody,
    status_code=200,
    exclude_from_auth=True,
    security=[{"bearer": []}, {}],
    responses=problems(
        *("missing-token", "invalid-ticket", "cross-origin"),
        *("unsupported-encoding", "not-json", "body-too-large"),
    ),
    tags=["login"],
    summary="Sign this browser in",
)
async def log_in(
    request: Asking,
    access: NamedDependency[Access],
    throttle: NamedDependency[Throttle],
    data: JSONBody[TicketRequest | None] = None,
) -> Response[Login]:
    """Start a session from a ticket in the body, or from a token in `Authorization: Bearer`.

    The ticket can be used only once. The browser sends the session's cookie automatically from
    then on."""
    principal = await _offered(request, access, throttle, data, use=True)
    if (before := session_cookie(request)) is not None:
        await access.end_session(before)
    secret = await access.begin_session(principal)
    cookie = new_cookie(request, secret, seconds_left(principal))
    return Response(_login(principal), cookies=[cookie])


@post(
    "/api/login/preview",
    guards=[only()],
    operation_class=OptionalBody,
    status_code=200,
    exclude_from_auth=True,
    security=[{"bearer": []}, {}],
    responses=problems(
        *("missing-token", "invalid-ticket", "cross-origin"),
        *("unsupported-encoding", "not-json", "body-too-large"),
    ),
    tags=["login"],
    summary="Preview a sign-in",
)
async def preview_login(
    request: Asking,
    access: NamedDependency[Access],
    throttle: NamedDependency[Throttle],
    data: JSONBody[TicketRequest | None] = None,
) -> Preview:
    """Return the client that a ticket or token would sign in, without signing in.

    Changes nothing: the ticket can still be used."""
    offered = _login(await _offered(request, access, throttle, data, use=False))
    current = await access.in_session(request)
    return Preview(**msgspec.structs.asdict(offered), current=current and _login(current))


@post(
    "/api/login/tickets",
    guards=[only()],
    before_request=bodiless,
    security=[{"bearer": []}],
    responses=problems("missing-token", "cross-origin", "forbidden"),
    tags=["login"],
    summary="Create a sign-in link",
)
async def make_ticket(request: Asked, deps: NamedDependency[Dependencies]) -> Ticket:
    """Create a ticket that signs in the client of the bearer token.

    A ticket can be used once and expires within minutes. Its session ends with the token."""
    if bearer(request) is None:
        raise Forbidden("A sign-in link can only be created with a bearer token.")
    lifetime_s = min(deps.limits.ticket_ttl_s, seconds_left(request.user))
    ticket = await request.auth.make_ticket(request.user, lifetime_s)
    return Ticket(ticket=ticket, path=f"/#ticket={ticket}", expires_in_s=int(lifetime_s))


@get(
    "/api/login",
    guards=[only()],
    responses=problems("missing-token"),
    tags=["login"],
    summary="Get the current login",
)
async def who_am_i(request: Asked) -> Login:
    """Return the client, role and scopes of the token or session, and when it expires."""
    return _login(request.user)


@get(
    "/api/login/current",
    guards=[only()],
    exclude_from_auth=True,
    security=[{}],
    responses=problems("log-unavailable", reads=True),
    tags=["login"],
    summary="Check whether this browser is signed in",
)
async def show_current(request: Asking, access: NamedDependency[Access]) -> Current:
    """Return the current login, or null without a session.

    Unlike `GET /api/login`, it looks only at the session cookie and is no error without one."""
    principal = await access.in_session(request)
    return Current(current=principal and _login(principal))


@delete(
    "/api/login",
    guards=[only()],
    exclude_from_auth=True,
    security=[{}],
    responses=problems("cross-origin", "unsupported-encoding"),
    tags=["login"],
    summary="Sign this browser out",
)
async def log_out(request: Asking, access: NamedDependency[Access]) -> Response[None]:
    """End the session in every tab and on every gateway.

    Also succeeds if the session has expired or does not exist."""
    if (secret := session_cookie(request)) is not None:
        check_cookie_use(request)
        await access.end_session(secret)
    return Response(None, status_code=204, cookies=[new_cookie(request, "", 0)])


async def _offered(
    request: Asking, access: Access, throttle: Throttle, offered: TicketRequest | None, *, use: bool
) -> Principal:
    """Return the client that the ticket, or else the bearer token, signs in.

    Raises:
        AuthError, Forbidden: the credential is missing, invalid or not allowed here.
        RateLimited: this address tried too many invalid tickets.
    """
    if offered is not None:
        check_origin(request)
        try:
            return await access.of_ticket(offered.ticket, use=use)
        except AuthError as error:
            await throttle.charge_failure(request.scope, error)
            raise
    check_origin(request, required=False)
    token = bearer(request)
    if token is None:
        raise AuthError(
            "missing-token", "Send a token in `Authorization: Bearer`, or a ticket in the body."
        )
    principal = access.tokens.verify(token)
    access.confirm(principal)
    return principal


def _login(principal: Principal) -> Login:
    return Login(
        client_id=principal.client_id,
        role=principal.role,
        scopes=sorted(principal.scopes),
        token_id=principal.token_id,
        expires_in_s=seconds_left(principal),
    )


ROUTES = (log_in, preview_login, make_ticket, who_am_i, show_current, log_out)
