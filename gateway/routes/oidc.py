"""Sign a person in at the OpenID provider that the settings name.

A browser visits these addresses itself. It gets redirects and, if it asks for HTML, errors as a web
page.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter, URLEncodedBody
from msgspec import Meta

from gateway.access.access import Access
from gateway.access.cookies import new_cookie, new_sign_in_cookie, session_cookie, sign_in_cookie
from gateway.access.oidc.flow import Flow, Returned
from gateway.access.security_log import SecurityLog
from gateway.http.auth import seconds_left
from gateway.http.bearer import Connection
from gateway.http.peer import source_of
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import only
from gateway.routes.login import Asking
from store.errors import Full

LOGOUT_BYTES = 16_384
"""The most bytes of the body with a logout token."""

LONGEST = 4_000
"""The most characters of what a provider hands back."""

State = Annotated[
    str | None,
    QueryParameter(name="state", max_length=LONGEST, description="Which sign-in this is."),
]
Code = Annotated[
    str | None,
    QueryParameter(name="code", max_length=LONGEST, description="To exchange for the tokens."),
]
Issuer = Annotated[
    str | None,
    QueryParameter(name="iss", max_length=LONGEST, description="The provider, as RFC 9207 says."),
]
Failure = Annotated[
    str | None,
    QueryParameter(name="error", max_length=LONGEST, description="Why there is no code."),
]
ReturnTo = Annotated[
    str,
    QueryParameter(name="returnTo", description="The path of the page to show afterwards."),
]

REDIRECTED = {
    303: ResponseSpec(None, description="The address to visit next", generate_examples=False)
}

OURS = ("state", "code", "iss", "error")


def once(connection: Connection, _: BaseRouteHandler) -> None:
    """Reject duplicates of the parameters that count; providers add others of their own."""
    for name in OURS:
        if len(connection.query_params.getall(name, [])) > 1:
            raise Refused("invalid-request", f"Duplicate query parameter {name!r}.")


@contextmanager
def storing() -> Generator[None]:
    """Report a Redis without room as one that is unavailable: a browser can only come back."""
    try:
        yield
    except Full as error:
        raise Refused("log-unavailable", "Redis has no room for a sign-in.") from error


@get(
    "/api/login/oidc",
    guards=[only("returnTo")],
    exclude_from_auth=True,
    security=[{}],
    status_code=303,
    responses=problems(*("no-provider", "provider-unavailable", "log-unavailable"), reads=True)
    | REDIRECTED,
    tags=["login"],
    summary="Begin to sign in at the OpenID provider",
)
async def begin_provider_login(
    request: Asking, flow: NamedDependency[Flow], return_to: ReturnTo = "/"
) -> Response[None]:
    """Redirect the browser to the provider. It has ten minutes to come back."""
    with storing():
        begun = await flow.begin(source_of(request.scope), sign_in_cookie(request), return_to)
    return _redirect(begun.url, new_sign_in_cookie(request, begun.browser, begun.lifetime_s))


@get(
    "/api/login/oidc/callback",
    guards=[once],
    exclude_from_auth=True,
    security=[{}],
    status_code=303,
    responses=problems(
        *("no-provider", "provider-unavailable", "log-unavailable"),
        *("sign-in-expired", "sign-in-refused", "invalid-identity"),
        reads=True,
    )
    | REDIRECTED,
    tags=["login"],
    summary="Finish to sign in at the OpenID provider",
)
async def finish_provider_login(
    request: Asking,
    flow: NamedDependency[Flow],
    access: NamedDependency[Access],
    security: NamedDependency[SecurityLog],
    sign_in: State = None,
    code: Code = None,
    issuer: Issuer = None,
    error: Failure = None,
) -> Response[None]:
    """Start a session of the person whom the provider names, and redirect to the page.

    The provider sends the browser here. Each sign-in works once, in the browser that began it."""
    returned = Returned(state=sign_in, code=code, issuer=issuer, error=error)
    principal, return_to = await flow.finish(returned, sign_in_cookie(request))
    access.confirm(principal)
    if (before := session_cookie(request)) is not None:
        await access.end_session(before)
    with storing():
        secret = await access.begin_session(principal)
    security.signed_in(request.scope, principal)
    return _redirect(return_to, new_cookie(request, secret, seconds_left(principal)))


@get(
    "/api/login/oidc/sign-out",
    guards=[only()],
    exclude_from_auth=True,
    security=[{}],
    status_code=303,
    responses=problems("no-provider", "provider-unavailable") | REDIRECTED,
    tags=["login"],
    summary="Sign out at the OpenID provider",
)
async def leave_provider(flow: NamedDependency[Flow]) -> Response[None]:
    """Redirect the browser to the provider's sign-out, or to the page if it has none.

    `DELETE /api/login` ends the session of this gateway; send the browser here after that."""
    return _redirect(await flow.sign_out_url() or "/")


class LogoutRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Providers may send more fields, which do not count."""

    logout_token: Annotated[str, Meta(max_length=LOGOUT_BYTES)]


@post(
    "/api/login/oidc/back-channel",
    guards=[only()],
    exclude_from_auth=True,
    security=[{}],
    status_code=200,
    request_max_body_size=LOGOUT_BYTES,
    responses=problems(
        *("no-provider", "provider-unavailable", "log-unavailable", "invalid-logout-token")
    ),
    tags=["login"],
    summary="Sign out somebody who has left the OpenID provider",
)
async def end_provider_login(
    flow: NamedDependency[Flow],
    access: NamedDependency[Access],
    data: URLEncodedBody[LogoutRequest],
) -> Response[None]:
    """End the sessions of the person, or of the session at the provider, that the token names.

    The provider calls this, as OpenID Connect Back-Channel Logout 1.0 says. Within two seconds,
    every gateway rejects the sessions and closes their streams."""
    with storing():
        await flow.sign_out(data.logout_token, access.sign_outs)
    return Response(None, status_code=200, headers={"Cache-Control": "no-store"})


def _redirect(url: str, *cookies: Cookie) -> Response[None]:
    headers = {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response(None, status_code=303, headers=headers, cookies=list(cookies))


ROUTES = (begin_provider_login, finish_provider_login, leave_provider, end_provider_login)
