"""The middleware that authenticates requests."""

from litestar.middleware.authentication import (
    AbstractAuthenticationMiddleware,
    AuthenticationResult,
)
from litestar.types import ASGIApp

from gateway.access.access import Access
from gateway.http.bearer import Connection


class Authentication(AbstractAuthenticationMiddleware):
    """Put the ``Principal`` in ``request.user`` and the ``Access`` in ``request.auth``.

    Routes with ``exclude_from_auth=True`` are not authenticated.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        super().__init__(app)
        self._access = access

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        principal = await self._access.authenticate(connection)
        return AuthenticationResult(user=principal, auth=self._access)
