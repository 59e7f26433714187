"""Check what a request's headers demand, before its body is read (RFC 9110).

``negotiate`` runs for every route, after authentication and guards, and before parameters and body
are parsed.
"""

from typing import Any

from litestar import Request

from gateway.http import preconditions
from gateway.http.problems import Refused

_WITHOUT_CONTENT = ("GET", "HEAD", "OPTIONS")
CHARSETS = ("utf-8", "utf8", "us-ascii")


async def negotiate(request: Request[Any, Any, Any]) -> None:
    """Return if the server supports what the request's headers demand.

    Raises:
        Refused: ``expectation-failed``, ``unsupported-transfer-coding``, ``unsupported-encoding``,
            ``precondition-failed``.
    """
    if request.method == "OPTIONS":
        return
    if unmet := [each for each in _listed(request, "expect") if each != "100-continue"]:
        raise Refused(
            "expectation-failed", f"The server does not support the expectation {unmet[0][:40]!r}."
        )
    if codings := [each for each in _listed(request, "transfer-encoding") if each != "chunked"]:
        raise Refused(
            "unsupported-transfer-coding",
            f"The server does not support the transfer coding {codings[0][:40]!r}.",
        )
    if request.method not in _WITHOUT_CONTENT:
        _check_encoding(request)
    preconditions.check_before_body(request)


def check_json(request: Request[Any, Any, Any]) -> None:
    """Raise Refused, ``not-json``, if the Content-Type is not JSON in UTF-8."""
    content_type = request.headers.get("content-type")
    if content_type is None:
        return
    media_type, *parameters = (part.strip() for part in content_type.lower().split(";"))
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Refused("not-json", f"The Content-Type is {media_type[:40]!r}.")
    for name, _, value in (parameter.partition("=") for parameter in parameters):
        if name == "charset" and value.strip('"') not in CHARSETS:
            raise Refused("not-json", f"The charset in Content-Type is {value[:40]!r}.")


def _check_encoding(request: Request[Any, Any, Any]) -> None:
    codings = [each for each in _listed(request, "content-encoding") if each != "identity"]
    if codings:
        raise Refused(
            "unsupported-encoding",
            f"The server does not support the Content-Encoding {codings[0][:40]!r}.",
            headers={"Accept-Encoding": "identity"},  # section 15.5.16
        )


def _listed(request: Request[Any, Any, Any], name: str) -> list[str]:
    """Return the members of a header that is a list of tokens, in lower case."""
    members = ",".join(request.headers.getall(name, [])).lower().split(",")
    return [member.strip() for member in members if member.strip()]
