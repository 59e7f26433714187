"""A token for the browser: a cookie that scripts cannot read and other sites cannot send."""

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.datastructures import Cookie, State
from litestar.di import NamedDependency

from gateway.auth import COOKIE, AuthError, Principal, Role, bearer, seconds_left
from gateway.dependencies import Asked, Dependencies
from gateway.parameters import only
from gateway.problems import problems


class Login(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who the token speaks for, and for how many more seconds."""

    client_id: str
    role: Role
    expires_in_s: int


@post(
    "/api/login",
    guards=[only()],
    status_code=200,
    exclude_from_auth=True,
    security=[{"bearer": []}],
    responses=problems("missing-token", "unsupported-encoding", "body-too-large"),
    tags=["login"],
    summary="Keep the bearer token in a cookie",
)
async def log_in(
    request: Request[None, None, State], deps: NamedDependency[Dependencies]
) -> Response[Login]:
    """The token comes as `Authorization: Bearer`; from then on the browser sends it by itself."""
    token = bearer(request)
    if token is None:
        raise AuthError("missing-token", "Send the token as a bearer token.")
    principal = deps.tokens.verify(token)
    return Response(_login(principal), cookies=[_cookie(request, token, seconds_left(principal))])


@get(
    "/api/login",
    guards=[only()],
    responses=problems("missing-token"),
    tags=["login"],
    summary="Who am I?",
)
async def who_am_i(request: Asked) -> Login:
    """Who the token or cookie speaks for."""
    return _login(request.user)


@delete(
    "/api/login",
    guards=[only()],
    exclude_from_auth=True,
    security=[{}],
    responses=problems("unsupported-encoding"),
    tags=["login"],
    summary="Forget the cookie",
)
async def log_out(request: Request[None, None, State]) -> Response[None]:
    """Works with an expired cookie and with none."""
    return Response(None, status_code=204, cookies=[_cookie(request, "", 0)])


def _login(principal: Principal) -> Login:
    return Login(
        client_id=principal.client_id, role=principal.role, expires_in_s=seconds_left(principal)
    )


def _cookie(request: Request[None, None, State], token: str, max_age_s: int) -> Cookie:
    return Cookie(
        key=COOKIE,
        value=token,
        max_age=max_age_s,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


ROUTES = (log_in, who_am_i, log_out)
