"""Errors as HTTP problem documents (RFC 9457): the one table from what went wrong to what is said.

``code`` is stable and part of the public contract; ``detail`` is for people and may change.
"""

import enum
import logging
import math
import re
from typing import Any, cast, get_args

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from domain.rejections import OverQuota, Rejected
from gateway.http.auth import AuthError, Forbidden
from gateway.http.tracing import trace_id
from gateway.http.wording import in_our_words
from store.errors import (
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
from store.redis.breaker import Breaker

logger = logging.getLogger("photolog.gateway")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

MISSING = re.compile(r"Missing required query parameter '(\w+)'")
"""As Litestar says it."""
REASON_MAX = 200
"""Characters of a library's reason that an answer repeats."""

DAMAGES_MAX = 1_000
"""Damages that are remembered as named."""

Headers = dict[str, str]


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``advice`` says what to do next; ``trace_id`` finds the request in the logs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    advice: str
    trace_id: str


class Kind(msgspec.Struct, frozen=True):
    """What all problems of one code have in common."""

    status: int
    title: str
    advice: str


PROBLEMS: dict[str, Kind] = {
    # The request is not one we understand.
    "malformed-request": Kind(400, "Not an HTTP request", "Let an HTTP library build it."),
    "body-incomplete": Kind(
        400, "The body is cut off", "Send as many bytes as announced, and keep the connection open."
    ),
    "invalid-request": Kind(400, "The request is not valid", "Compare it with /schema."),
    "invalid-position": Kind(400, "Not a position", "Pass on the X-Log-Position of an answer."),
    "invalid-client": Kind(400, "No such client id", "Use 1 to 64 letters, digits and ._@-."),
    "invalid-cursor": Kind(400, "No such cursor", "Pass on nextCursor as it came."),
    "invalid-limit": Kind(400, "The page is too long", "Ask for fewer items and use nextCursor."),
    "invalid-time": Kind(400, "No such time", "Write times as 2026-11-23T10:00:00Z."),
    "invalid-session": Kind(400, "No such session id", "Use 1 to 128 printable characters."),
    "invalid-room": Kind(
        400, "No such room", "Use client, client:ID, session:ID, photo:ID or global."
    ),
    "invalid-priority": Kind(400, "No such priority", "Use 1 (first) to 10 (last)."),
    "unknown-pipeline": Kind(400, "No such pipeline", "Use full_processing or quick_processing."),
    "invalid-limit-setting": Kind(400, "No such limit", "Name the stage that the rate is of."),
    "invalid-revocation": Kind(
        400, "Not a revocation", "Name a token, a client, or a time in the past."
    ),
    "invalid-idempotency-key": Kind(
        400, "The Idempotency-Key cannot be used", "Use 1 to 200 printable ASCII characters."
    ),
    "missing-file": Kind(400, "There is no file", 'Send the photo as the form field "file".'),
    "empty-file": Kind(400, "The file is empty", "Check the file and send it again."),
    "too-many-files": Kind(400, "There is more than one file", "Send one photo a request."),
    "unknown-field": Kind(400, "No such form field", "Use file, sessionId, pipeline and priority."),
    "too-many-fields": Kind(400, "There are too many form fields", "Send each field once."),
    "field-too-large": Kind(
        400, "The form fields are too large", "Send less in the fields beside the file."
    ),
    "malformed-multipart": Kind(
        400, "The form cannot be read", "Let your HTTP library build the multipart/form-data body."
    ),
    # Who is asking, and for what.
    "missing-token": Kind(401, "Who is asking?", "Send Authorization: Bearer and a token."),
    "invalid-token": Kind(401, "The token is not valid", "Get a token with `photolog token`."),
    "expired-token": Kind(401, "The token has expired", "Get a new one with `photolog token`."),
    "revoked-token": Kind(401, "The token was revoked", "Ask the operator for a new one."),
    "token-not-yet-valid": Kind(
        401, "The token is not valid yet", "Set the clocks of both machines, then get a new token."
    ),
    "invalid-ticket": Kind(
        401, "The sign-in link does not count", "Get a new one with `photolog link`."
    ),
    "expired-session": Kind(
        401, "The sign-in is over", "Sign in again: `photolog link` prints a link for it."
    ),
    "forbidden": Kind(403, "Not allowed", "Use a token whose role may do this."),
    "scope-required": Kind(
        403,
        "The token lacks a scope",
        "Use a priority from 4 to 10, or a token made with --scope priority:high.",
    ),
    "room-forbidden": Kind(403, "Not your room", "Enter your own rooms."),
    "cross-origin": Kind(403, "Another site asks", "Send a bearer token instead of the cookie."),
    # What is asked for.
    "not-found": Kind(404, "Nothing is here", "Compare the address with /schema."),
    "photo-not-found": Kind(404, "No such photo", "Check the id; lists show your photos."),
    "rendition-not-found": Kind(404, "No such rendition", "See what the photo itself names."),
    "job-not-found": Kind(404, "No such job", "Check the id; a photo names its job."),
    "unknown-stage": Kind(404, "No such stage", "See `photolog queues` for those there are."),
    "session-not-found": Kind(404, "No such session", "Check the id; a photo names its session."),
    "method-not-allowed": Kind(405, "This address cannot do that", "See the Allow header."),
    "unknown-position": Kind(
        409, "No such position", "Pass on the X-Log-Position of an answer, or leave it out."
    ),
    "photo-exists": Kind(409, "The photo exists", "Upload under a new id."),
    "job-running": Kind(409, "The photo is being processed", "Wait for its job to end."),
    "job-failed": Kind(409, "The photo's last job failed", "Retry or discard it first."),
    "too-many-revocations": Kind(
        409, "Too many single revocations", "Revoke all tokens issued before a time instead."
    ),
    "nothing-failed": Kind(409, "Nothing has failed", "Reprocess the photo to run it again."),
    "pipeline-paused": Kind(409, "All stages are paused", "Resume all, then pause some."),
    "too-many-quotas": Kind(409, "Too many quotas", "Reset the quota of another client."),
    "ambiguous-session": Kind(409, "Several clients have this session", "Pass clientId."),
    "photo-deleted": Kind(410, "The photo was deleted", "Upload it again."),
    "upload-stalled": Kind(408, "The upload takes too long", "Send it again."),
    "precondition-failed": Kind(
        412, "A precondition does not hold", "Get the resource again and use its present ETag."
    ),
    "body-too-large": Kind(413, "The body is too large", "Send less."),
    "upload-too-large": Kind(413, "The photo is too large", "Send a smaller file."),
    "not-multipart": Kind(
        415, "Not a multipart form", 'Send multipart/form-data with the photo as the field "file".'
    ),
    "not-json": Kind(415, "Not JSON", "Send application/json in UTF-8."),
    "unsupported-encoding": Kind(
        415, "The content coding is not supported", "Send the body without Content-Encoding."
    ),
    "unsupported-type": Kind(415, "Not a photo format that we know", "Send one of those named."),
    "range-not-satisfiable": Kind(416, "The range is outside the file", "See Content-Range."),
    "expectation-failed": Kind(
        417, "The expectation cannot be met", "Expect 100-continue or nothing."
    ),
    "upgrade-required": Kind(
        426, "This address speaks WebSocket", "Send a WebSocket handshake, or use /api/events."
    ),
    "idempotency-key-reused": Kind(
        422, "The Idempotency-Key stands for another photo", "Use a new key for a new photo."
    ),
    "quota-jobs": Kind(
        429, "Too many jobs at once", "Wait for jobs to end, then try again after Retry-After."
    ),
    "quota-uploads": Kind(
        429, "Too many open uploads", "Finish an upload, then send this one again."
    ),
    "quota-idempotency-keys": Kind(
        429, "Too many idempotency keys", "Try again after Retry-After, or send fewer keys."
    ),
    "too-many-superseded": Kind(
        429, "Processed again too often", "Wait until superseded renditions are removed."
    ),
    "rate-limited": Kind(429, "Too many requests", "Wait as long as Retry-After says, then go on."),
    "headers-too-large": Kind(431, "The headers are too large", "Send fewer and shorter ones."),
    # What is wrong on our side.
    "internal-error": Kind(500, "Our mistake", "Report it with the traceId."),
    "blob-missing": Kind(500, "The file is missing", "Tell the operator: photolog reconcile."),
    "corrupt": Kind(500, "Stored data is damaged", "Tell the operator: photolog verify."),
    "unsupported-transfer-coding": Kind(
        501, "The transfer coding is not supported", "Use chunked, or Content-Length."
    ),
    "busy": Kind(503, "Too many uploads at once", "Send it again after Retry-After."),
    "too-many-connections": Kind(
        503, "Too many connections at once", "Try again after Retry-After."
    ),
    "too-many-connections-from-address": Kind(
        429,
        "Too many connections from one address",
        "Close those you do not need, and try again after Retry-After.",
    ),
    "too-many-connections-of-client": Kind(
        429,
        "Too many connections of one client",
        "End streams or requests you do not need, and try again after Retry-After.",
    ),
    "log-unavailable": Kind(
        503,
        "The log does not answer",
        "Try again after Retry-After; with the same Idempotency-Key nothing happens twice.",
    ),
    "read-model-behind": Kind(
        503, "Not there yet", "Try again after Retry-After, or leave out ?after= for older data."
    ),
    "storage-unavailable": Kind(
        503, "No photos can be stored now", "Send it again after Retry-After."
    ),
    "unavailable": Kind(503, "A part does not answer", "Try again after Retry-After."),
    "quota-photos": Kind(
        507, "The quota of photos is used up", "Delete photos, or ask the operator for more."
    ),
    "quota-bytes": Kind(
        507, "The quota of bytes is used up", "Delete photos, or ask the operator for more."
    ),
    "log-full": Kind(
        507,
        "The log has no room left",
        "Tell the operator; what was uploaded before is kept, and can be read and deleted.",
    ),
    "storage-full": Kind(507, "No room is left", "Tell the operator; nothing was stored."),
}


_ANYWHERE = (
    *("invalid-request", "precondition-failed", "rate-limited"),
    *("internal-error", "unavailable"),
)
"""What each route may answer with."""

_BRINGS = {
    "missing-token": (
        "invalid-token",
        "expired-token",
        "revoked-token",
        "token-not-yet-valid",
        "expired-session",
        "log-unavailable",
    ),
    "read-model-behind": ("invalid-position", "unknown-position"),
    "log-unavailable": (
        *("cross-origin", "unsupported-encoding", "corrupt"),
        *("log-full", "storage-full"),
    ),
}
"""What else may be said where the first may: of a token, of ``?after=``, of a command."""


class Refused(Exception):
    """The gateway itself says no; ``code`` is one of ``PROBLEMS``, which has an advice too.

    ``trespass``: what was asked for exists, and is not for who asked. Only the security log tells.
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
    """The connection ended, or its sending half did, before the body was whole."""
    return Refused("body-incomplete", "The body ended before all of it had come.")


def retry_after(breaker: Breaker) -> Headers:
    """When a breaker that is not closed lets the next one pass."""
    return {} if breaker.state == "closed" else _in(breaker.retry_after_s)


def _in(seconds: float) -> Headers:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


class _Said(msgspec.Struct, frozen=True):
    """What is said about one error."""

    code: str
    detail: str
    headers: Headers = {}
    advice: str = ""


def _say(error: Exception) -> _Said:
    match error:
        case Refused():
            return _Said(error.code, error.detail, error.headers, error.advice)
        case Rejected():
            return _Said(error.code, error.message, _when(error), error.advice)
        case AuthError():
            return _Said(error.code, str(error), {"WWW-Authenticate": _challenge(error)})
        case Forbidden(scope=str() as scope):
            # RFC 6750, section 3.1
            challenge = f'Bearer realm="photolog", error="insufficient_scope", scope="{scope}"'
            return _Said(error.code, str(error), {"WWW-Authenticate": challenge})
        case Forbidden():
            return _Said(error.code, str(error))
        case StoreError():
            return _say_store(error)
        case HTTPException():
            return _say_http(error)
        case _:
            return _Said("internal-error", "Something went wrong that should not.")


def _when(error: Rejected) -> Headers:
    if PROBLEMS[error.code].status != 429:
        return {}
    return _in(error.retry_after_s or RETRY_AFTER_S)


def _say_store(error: StoreError) -> _Said:
    match error:
        case LogFull():
            return _Said("log-full", "The server of the log takes no more.")
        case Full():
            return _Said("storage-full", "The storage has no room left.")
        case Missing():
            return _Said("blob-missing", "The file of this photo is not where the log says it is.")
        case Corrupt():
            return _Said("corrupt", "What is stored is not what was written.")
        case WrongType():
            return _Said("unavailable", f"The log has a damaged key: {error}.")
        case Unavailable():
            headers = _in(error.retry_after_s) if isinstance(error, CircuitOpen) else {}
            return _Said("unavailable", "A part of the system does not answer now.", headers)
        case _:
            return _Said("internal-error", "Something went wrong that should not.")


def _say_http(error: HTTPException) -> _Said:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return _Said("not-found", "There is nothing at this address.", headers)
        case 405:
            return _Said("method-not-allowed", "This address has no such method.", headers)
        case 413:
            return _Said("body-too-large", "The body is larger than this address takes.", headers)
        case status if status < 500:
            return _Said("invalid-request", _reasons(error), headers)
        case _:
            return _Said("internal-error", "Something went wrong that should not.")


def _reasons(error: HTTPException) -> str:
    if not isinstance(error, ValidationException) or not isinstance(error.extra, list):
        return shortened(in_our_words(error.detail))
    reasons = cast("list[dict[str, str]]", error.extra)
    return "; ".join(
        shortened(f"{reason.get('key', 'body')}: {in_our_words(reason['message'])}")
        for reason in reasons
    )


def _values(request: Request[Any, Any, Any], error: Exception) -> str:
    """An advice that names what a parameter may be that is missing or wrong, or nothing."""
    if not isinstance(error, ValidationException):
        return ""
    if missing := MISSING.match(error.detail):
        return _meaning(request.route_handler, missing[1])
    if not isinstance(error.extra, list):
        return ""
    for reason in cast("list[dict[str, str]]", error.extra):
        values = choices(request.route_handler, reason.get("key", ""))
        if values and reason["message"].startswith("Invalid enum value"):
            return use_one_of(values)
    return ""


def _meaning(handler: BaseRouteHandler, name: str) -> str:
    parameter = handler.parsed_fn_signature.parameters.get(name)
    found: Any = parameter and parameter.kwarg_definition
    return f"Send {name}: {found.description}." if found and found.description else ""


def choices(handler: BaseRouteHandler, name: str) -> tuple[str, ...]:
    """The few values that the route's parameter can have; empty where there is no such list."""
    parameter = handler.parsed_fn_signature.parameters.get(name)
    if parameter is None:
        return ()
    choice: Any = next(iter(get_args(parameter.annotation)), None)
    if isinstance(choice, type) and issubclass(choice, enum.Enum):
        return tuple(str(each.value) for each in choice)
    return tuple(each for each in get_args(choice) if isinstance(each, str))


def use_one_of(values: tuple[str, ...]) -> str:
    return f"Use {', '.join(values[:-1])} or {values[-1]}."


def shortened(reason: str) -> str:
    """What a library says of a wrong input, which it may repeat whole."""
    return reason if len(reason) <= REASON_MAX else f"{reason[:REASON_MAX]}…"


def _challenge(error: AuthError) -> str:
    # RFC 6750, section 3.1: no error code where no token was sent
    if error.code == "missing-token":
        return 'Bearer realm="photolog"'
    return f'Bearer realm="photolog", error="invalid_token", error_description="{error}"'


class Damages:
    """Those that a log line has named: one line each, not one for each look at it."""

    def __init__(self) -> None:
        self._named: dict[str, None] = {}

    def name(self, damage: str) -> bool:
        """Whether it is to be named now; those that nobody has met for long are forgotten."""
        known = damage in self._named
        self._named.pop(damage, None)
        self._named[damage] = None
        if len(self._named) > DAMAGES_MAX:
            del self._named[next(iter(self._named))]
        return not known


def problem_response(
    request: Request[Any, Any, Any], error: Exception, damages: Damages
) -> Response[Problem]:
    """The problem document of any error; a bug is logged with its traceback, damage once."""
    said = _say(error)
    kind = PROBLEMS[said.code]
    trace = trace_id(request.scope)
    where = f"{request.method} {request.url.path!r}"
    about = {"subject": Subject(trace_id=trace)}
    reason = str(error)  # like the path it may hold a line break of a user's
    is_bug = said.code == "internal-error"
    # A crowd is told of by lines of its own, see gateway.http.noise.
    is_crowd = said.code == "too-many-connections"
    expected = kind.status < 500 or is_crowd or isinstance(error, OverQuota)
    level = logging.INFO if expected else logging.WARNING
    if kind.status == 500:
        is_news = is_bug or damages.name(f"{request.url.path} {said.code} {reason}")
        level = logging.ERROR if is_news else logging.INFO
    cause = error if is_bug else None
    logger.log(level, "%s: %s: %r", where, said.code, reason, exc_info=cause, extra=about)
    retry = {"Retry-After": str(RETRY_AFTER_S)} if kind.status in (429, 503) else {}
    return Response(
        document(said.code, said.detail, trace, said.advice or _values(request, error)),
        status_code=kind.status,
        media_type=MEDIA_TYPE,
        headers={**retry, **said.headers},
    )


def document(code: str, detail: str, trace: str, advice: str = "") -> Problem:
    """The body of a problem; without ``advice`` that of its kind."""
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


def problems(*codes: str) -> dict[int, ResponseSpec]:
    """The OpenAPI responses of a route that may answer with these codes, and what they bring."""
    by_status: dict[int, list[str]] = {}
    brought = [each for code in codes for each in (code, *_BRINGS.get(code, ()))]
    for code in dict.fromkeys((*_ANYWHERE, *brought)):
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
