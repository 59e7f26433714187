"""What a request asks of the server before its body is read (RFC 9110).

Every route goes through ``negotiate`` once it is known who asks and that they may: it comes after
the authentication and the guards, and before parameters and bodies.
"""

from typing import Any

from litestar import Request

from gateway.http import preconditions
from gateway.http.problems import Refused

_WITHOUT_CONTENT = ("GET", "HEAD", "OPTIONS")
CHARSETS = ("utf-8", "utf8", "us-ascii")


async def negotiate(request: Request[Any, Any, Any]) -> None:
    """Let the request pass if the server can do what its headers ask.

    Raises:
        Refused: ``expectation-failed``, ``unsupported-transfer-coding``, ``unsupported-encoding``,
            ``precondition-failed``.
    """
    if request.method == "OPTIONS":
        return
    if unmet := [each for each in _listed(request, "expect") if each != "100-continue"]:
        raise Refused("expectation-failed", f"The expectation {unmet[0][:40]!r} cannot be met.")
    if codings := [each for each in _listed(request, "transfer-encoding") if each != "chunked"]:
        raise Refused(
            "unsupported-transfer-coding", f"The transfer coding {codings[0][:40]!r} is unknown."
        )
    if request.method not in _WITHOUT_CONTENT:
        _check_encoding(request)
    preconditions.check_before_body(request)


def check_json(request: Request[Any, Any, Any]) -> None:
    """Refuse a body that says it is not JSON in UTF-8; raises Refused, ``not-json``."""
    said = request.headers.get("content-type")
    if said is None:
        return
    media_type, *parameters = (part.strip() for part in said.lower().split(";"))
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Refused("not-json", f"The body is {media_type[:40]!r}.")
    for name, _, value in (parameter.partition("=") for parameter in parameters):
        if name == "charset" and value.strip('"') not in CHARSETS:
            raise Refused("not-json", f"The charset is {value[:40]!r}.")


def _check_encoding(request: Request[Any, Any, Any]) -> None:
    codings = [each for each in _listed(request, "content-encoding") if each != "identity"]
    if codings:
        raise Refused(
            "unsupported-encoding",
            f"The Content-Encoding {codings[0][:40]!r} is not supported.",
            headers={"Accept-Encoding": "identity"},  # section 15.5.16
        )


def _listed(request: Request[Any, Any, Any], name: str) -> list[str]:
    """The members of a header that is a list of tokens, lower-cased."""
    members = ",".join(request.headers.getall(name, [])).lower().split(",")
    return [member.strip() for member in members if member.strip()]
