"""Why a sign-in at a provider fails, besides what is not configured."""

from gateway.http.auth import AuthError, Forbidden
from gateway.http.problems import Refused


def unavailable(detail: str, retry_s: float) -> Refused:
    """The provider does not answer, or not as OpenID Connect says."""
    headers = {"Retry-After": str(max(1, round(retry_s)))}
    return Refused("provider-unavailable", detail, headers=headers)


def invalid(detail: str) -> AuthError:
    """The provider's claims about the person cannot be trusted."""
    return AuthError("invalid-identity", detail)


def expired() -> AuthError:
    """The sign-in is unknown, too old or finished, or was begun in another browser."""
    return AuthError(
        "sign-in-expired",
        "This sign-in has expired, was finished already, or was begun in another browser.",
    )


def refused(detail: str) -> Forbidden:
    """The provider, the person or the settings said no."""
    return Forbidden(detail, code="sign-in-refused")
