"""Sign a browser in and out.

A token, or a ticket from a link, is exchanged for a session: a cookie that scripts cannot read and
other sites cannot send. Requests with the ``Origin`` of another site are rejected, so such a site
cannot sign anyone in.
"""

import math
from typing import Annotated

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from gateway.access.access import Access
from gateway.access.cookies import check_cookie_use, check_origin, new_cookie, session_cookie
from gateway.access.oidc.config import BEGIN, Oidc
from gateway.access.oidc.flow import Flow
from gateway.dependencies import Asked, Dependencies
from gateway.http import api_keys
from gateway.http.auth import AuthError, Forbidden, Principal, Role, seconds_left
from gateway.http.bearer import bearer
from gateway.http.problems import problems
from gateway.http.query_guards import bodiless, only
from gateway.limits.throttling import Throttle
from gateway.openapi.document import OptionalBody

Asking = Request[None, None, State]


class Login(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The client that a token, session or API key stands for, and for how many seconds.

    ``name`` is that of the person, if the token or the provider has it. ``provider`` is the issuer
    at which the person signed in, or null. ``scopes`` are those that the token has in
    addition to its role, or all those of an API key. ``token_id`` is null for tokens issued by
    versions without token ids, ``expires_in_s`` for API keys that do not expire.
    """

    client_id: str
    name: str | None
    role: Role
    scopes: list[str]
    token_id: str | None
    expires_in_s: int | None
    provider: str | None


class Provider(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An OpenID provider at which people can sign in: its name, and the address that begins it."""

    name: str
    url: str


class Preview(Login, frozen=True, kw_only=True, rename="camel"):
    """The client that would be signed in, and ``current``, the one signed in now, or null."""

    current: Login | None


class Current(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``current`` is the client signed in in this browser, or null.

    ``provider`` is the provider at which people can sign in, or null."""

    current: Login | None
    provider: Provider | None


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
async def show_current(
    request: Asking, access: NamedDependency[Access], flow: NamedDependency[Flow]
) -> Current:
    """Return the current login, or null without a session.

    Unlike `GET /api/login`, it looks only at the session cookie and is no error without one."""
    principal = await access.in_session(request)
    return Current(current=principal and _login(principal), provider=_provider(flow.config))


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
        check_cookie_use(request, access.cors)
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
        check_origin(request, access.cors)
        try:
            return await access.of_ticket(offered.ticket, use=use)
        except AuthError as error:
            await throttle.charge_failure(request.scope, error)
            raise
    check_origin(request, access.cors, required=False)
    token = bearer(request)
    if token is not None and token.startswith(api_keys.PREFIX):
        raise AuthError("invalid-token", "An API key cannot sign a browser in. Use a token.")
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
        name=principal.name,
        role=principal.role,
        scopes=sorted(principal.scopes if principal.granted is None else principal.granted),
        token_id=principal.token_id,
        expires_in_s=None if principal.expires == math.inf else seconds_left(principal),
        provider=principal.provider,
    )


def _provider(config: Oidc | None) -> Provider | None:
    # Absolute, because the cookie has to be that of the host to which the provider returns.
    return config and Provider(name=config.title, url=config.origin + BEGIN)


ROUTES = (log_in, preview_login, make_ticket, who_am_i, show_current, log_out)
