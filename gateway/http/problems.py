"""Turn every error into an HTTP problem document (RFC 9457).

``code`` is stable and part of the public contract; ``detail`` is for people and may change. The
status, title and default advice of each code are in ``gateway.http.problem_table``.
"""

import enum
import logging
import math
import re
from typing import Any, Literal, cast, get_args, get_origin

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from domain.rejections import OverQuota, Rejected
from gateway.http import suggestions
from gateway.http.auth import AuthError, Forbidden
from gateway.http.body_fields import description_at, values_at
from gateway.http.problem_table import PROBLEMS
from gateway.http.tracing import trace_id
from gateway.http.wording import in_our_words
from store.breaker import Breaker
from store.errors import (
    BadSegment,
    CircuitOpen,
    Corrupt,
    Full,
    LogFull,
    Missing,
    StoreError,
    Unavailable,
    WrongType,
)
from store.log_context import Subject

logger = logging.getLogger("photolog.gateway")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

MISSING = re.compile(r"Missing required query parameter '(\w+)'")
"""Litestar's message for a missing parameter."""
REASON_MAX = 200
"""The most characters of a library's message that an answer repeats."""

DAMAGES_MAX = 1_000
"""The most damages that are remembered as already logged."""

UNEXPECTED = "An unexpected error occurred."

Headers = dict[str, str]


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of a problem: ``advice`` says what to do, ``trace_id`` finds the request in logs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    advice: str
    trace_id: str


_ANYWHERE = (
    *("invalid-request", "precondition-failed", "rate-limited"),
    *("internal-error", "unavailable"),
)
"""The codes that every route may answer with."""

_IMPLIED = {
    "missing-token": (
        "invalid-token",
        "expired-token",
        "revoked-token",
        "token-not-yet-valid",
        "expired-session",
        "scope-required",
        "log-unavailable",
    ),
    "read-model-behind": ("invalid-position", "unknown-position"),
    "log-unavailable": (
        *("cross-origin", "unsupported-encoding", "corrupt"),
        *("log-full", "storage-full"),
    ),
}
"""The codes that come with another one: with a token, with ``?after=``, with a command."""


class Refused(Exception):
    """The gateway itself rejects the request; ``code`` is one of ``PROBLEMS``.

    Without ``advice``, the answer has the advice of the code. ``trespass`` means that the requested
    resource exists but belongs to another client; only the security log shows the difference.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        advice: str = "",
        headers: Headers | None = None,
        trespass: bool = False,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.advice = advice
        self.headers = headers or {}
        self.trespass = trespass


def body_incomplete() -> Refused:
    """Reject a request whose connection, or its sending half, closed before the body's end."""
    return Refused("body-incomplete", "The request body ended before it was complete.")


def retry_after(breaker: Breaker) -> Headers:
    """Return the header that says when the breaker lets a call pass; none if it is closed."""
    return {} if breaker.state == "closed" else _retry_in(breaker.retry_after_s)


def _retry_in(seconds: float) -> Headers:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


class _Answer(msgspec.Struct, frozen=True):
    """The parts of a problem that depend on the error; no ``advice`` means that of the code."""

    code: str
    detail: str
    headers: Headers = {}
    advice: str = ""


def _answer_to(request: Request[Any, Any, Any], error: Exception) -> _Answer:
    match error:
        case Refused():
            return _Answer(error.code, error.detail, error.headers, error.advice)
        case Rejected():
            return _Answer(error.code, error.message, _retry_header(error), error.advice)
        case AuthError():
            return _Answer(error.code, str(error), {"WWW-Authenticate": _challenge(error)})
        case Forbidden(scope=str() as scope):
            # RFC 6750, section 3.1
            challenge = f'Bearer realm="photolog", error="insufficient_scope", scope="{scope}"'
            return _Answer(error.code, str(error), {"WWW-Authenticate": challenge})
        case Forbidden():
            return _Answer(error.code, str(error), advice=error.advice)
        case StoreError():
            return _of_store_error(error)
        case HTTPException():
            return _of_http_error(request, error)
        case _:
            return _Answer("internal-error", UNEXPECTED)


def _retry_header(error: Rejected) -> Headers:
    if PROBLEMS[error.code].status != 429:
        return {}
    return _retry_in(error.retry_after_s or RETRY_AFTER_S)


def _of_store_error(error: StoreError) -> _Answer:
    match error:
        case LogFull():
            return _Answer("log-full", "The log's Redis server has no memory left.")
        case Full():
            return _Answer("storage-full", "The storage has no space left.")
        case Missing():
            return _Answer("blob-missing", "The stored file of this photo is missing.")
        case BadSegment():
            return _Answer("corrupt", f"The archive of the log cannot be read: {error}.")
        case Corrupt():
            return _Answer("corrupt", "The stored data differs from what was written.")
        case WrongType():
            return _Answer("unavailable", f"A key of the log in Redis is damaged: {error}.")
        case Unavailable():
            headers = _retry_in(error.retry_after_s) if isinstance(error, CircuitOpen) else {}
            return _Answer(
                "unavailable", "A service that this request needs does not answer.", headers
            )
        case _:
            return _Answer("internal-error", UNEXPECTED)


def _of_http_error(request: Request[Any, Any, Any], error: HTTPException) -> _Answer:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return _Answer("not-found", "This address does not exist.", headers)
        case 405:
            return _Answer(
                "method-not-allowed", "This address does not support the method.", headers
            )
        case 413:
            return _Answer(
                "body-too-large", "The body is larger than this address accepts.", headers
            )
        case status if status < 500:
            return _Answer("invalid-request", _reasons(request, error), headers)
        case _:
            return _Answer("internal-error", UNEXPECTED)


def _reasons(request: Request[Any, Any, Any], error: HTTPException) -> str:
    if not isinstance(error, ValidationException) or not isinstance(error.extra, list):
        return shortened(in_our_words(error.detail))
    reasons = cast("list[dict[str, str]]", error.extra)
    return "; ".join(
        shortened(f"{_sent_as(request.route_handler, reason)}: {in_our_words(reason['message'])}")
        for reason in reasons
    )


def _sent_as(handler: BaseRouteHandler, reason: dict[str, str]) -> str:
    """Return the name under which callers send what is wrong; the route may use another one."""
    key = reason.get("key", "body")
    parameter = handler.parsed_fn_signature.parameters.get(key)
    name = getattr(parameter and parameter.kwarg_definition, "name", None) or key
    return "body" if name == "data" else name  # the routes call it so


def _values(request: Request[Any, Any, Any], error: Exception) -> str:
    """Return advice that names the values of a missing or wrong parameter; empty if unknown."""
    if not isinstance(error, ValidationException):
        return ""
    if missing := MISSING.match(error.detail):
        return _meaning(request.route_handler, missing[1])
    if not isinstance(error.extra, list):
        return ""
    for reason in cast("list[dict[str, str]]", error.extra):
        key, handler = reason.get("key", ""), request.route_handler
        body = handler.parsed_data_field
        values = choices(handler, key) or (values_at(body.annotation, key) if body else ())
        if values and reason["message"].startswith("Invalid enum value"):
            return use_one_of(values)
        if "` matching regex " in reason["message"] and body:
            form = description_at(body.annotation, key)
            return form and f"Use {form}."
    return ""


def _addresses(request: Request[Any, Any, Any], code: str) -> str:
    """Return advice that names the address or method that was probably meant; empty if unknown."""
    match code:
        case "not-found":
            return suggestions.near(request.app, request.url.path)
        case "method-not-allowed":
            return suggestions.instead(request.app, request.url.path)
        case _:
            return ""


def _meaning(handler: BaseRouteHandler, name: str) -> str:
    parameter = parameter_of(handler, name)
    found: Any = parameter and parameter.kwarg_definition
    return f"Send {name}: {found.description}" if found and found.description else ""


def parameter_of(handler: BaseRouteHandler, name: str) -> Any:
    """Return the route's parameter of this name in the query or path, or None."""
    parameters = handler.parsed_fn_signature.parameters
    for parameter in parameters.values():
        if getattr(parameter.kwarg_definition, "name", None) == name:
            return parameter
    return parameters.get(name)


def choices(handler: BaseRouteHandler, name: str) -> tuple[str, ...]:
    """Return the values that the route's parameter accepts; empty if they are not a fixed list."""
    parameter = parameter_of(handler, name)
    if parameter is None:
        return ()
    for choice in (parameter.annotation, *get_args(parameter.annotation)):
        if isinstance(choice, type) and issubclass(choice, enum.Enum):
            return tuple(str(each.value) for each in choice)
        if get_origin(choice) is Literal:
            return tuple(str(each) for each in get_args(choice))
    return ()


def use_one_of(values: tuple[str, ...]) -> str:
    return f"Use {', '.join(values[:-1])} or {values[-1]}."


def shortened(reason: str) -> str:
    """Cut a library's message, which may repeat the whole input."""
    return reason if len(reason) <= REASON_MAX else f"{reason[:REASON_MAX]}…"


def _challenge(error: AuthError) -> str:
    # RFC 6750, section 3.1: no error code if the request has no token
    if error.code == "missing-token":
        return 'Bearer realm="photolog"'
    return f'Bearer realm="photolog", error="invalid_token", error_description="{error}"'


class Damages:
    """Remember which damages have been logged, so that each is logged once."""

    def __init__(self) -> None:
        self._named: dict[str, None] = {}

    def name(self, damage: str) -> bool:
        """Return whether to log the damage now; the one unseen for longest is forgotten first."""
        known = damage in self._named
        self._named.pop(damage, None)
        self._named[damage] = None
        if len(self._named) > DAMAGES_MAX:
            del self._named[next(iter(self._named))]
        return not known


def problem_response(
    request: Request[Any, Any, Any], error: Exception, damages: Damages
) -> Response[Problem]:
    """Log any error and return its problem document.

    A bug is logged with its traceback; the same damage is logged once.
    """
    answer = _answer_to(request, error)
    kind = PROBLEMS[answer.code]
    trace = trace_id(request.scope)
    where = f"{request.method} {request.url.path!r}"
    about = {"subject": Subject(trace_id=trace)}
    reason = str(error)  # like the path, it may contain a line break from the user
    is_bug = answer.code == "internal-error"
    # Connection floods are logged by gateway.http.rejection_log.
    is_crowd = answer.code == "too-many-connections"
    expected = kind.status < 500 or is_crowd or isinstance(error, OverQuota)
    level = logging.INFO if expected else logging.WARNING
    if kind.status == 500:
        is_news = is_bug or damages.name(f"{request.url.path} {answer.code} {reason}")
        level = logging.ERROR if is_news else logging.INFO
    cause = error if is_bug else None
    logger.log(level, "%s: %s: %r", where, answer.code, reason, exc_info=cause, extra=about)
    retry = {"Retry-After": str(RETRY_AFTER_S)} if kind.status in (423, 429, 503) else {}
    advice = answer.advice or _values(request, error) or _addresses(request, answer.code)
    return Response(
        document(answer.code, answer.detail, trace, advice),
        status_code=kind.status,
        media_type=MEDIA_TYPE,
        headers={**retry, **answer.headers},
    )


def document(code: str, detail: str, trace: str, advice: str = "") -> Problem:
    """Return the body of a problem; without ``advice``, that of the code."""
    kind = PROBLEMS[code]
    return Problem(
        type=f"urn:photolog:problem:{code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        code=code,
        advice=advice or kind.advice,
        trace_id=trace,
    )


def problems(*codes: str, reads: bool = False) -> dict[int, ResponseSpec]:
    """Return the OpenAPI responses of a route with these codes and those that they imply.

    A route that only ``reads`` has none of the codes that come with a command.
    """
    implied = _IMPLIED | {"log-unavailable": ("corrupt",)} if reads else _IMPLIED
    by_status: dict[int, list[str]] = {}
    own = [each for code in codes for each in (code, *implied.get(code, ()))]
    for code in dict.fromkeys((*_ANYWHERE, *own)):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {
        status: ResponseSpec(
            data_container=Problem,
            description=f"Problem: {', '.join(f'`{code}`' for code in found)}",
            media_type=MEDIA_TYPE,
            generate_examples=False,
        )
        for status, found in sorted(by_status.items())
    }
