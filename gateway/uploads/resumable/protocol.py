"""Read and write the headers of tus 1.0 and of draft-ietf-httpbis-resumable-upload-11.

| | tus 1.0 | the draft |
|---|---|---|
| which one | ``Tus-Resumable: 1.0.0`` | ``Upload-Complete``, or the type of the body |
| the length | ``Upload-Length``, at once or later | the same, or from the last body |
| the last byte | the offset is the length | ``Upload-Complete: ?1`` |
| the type of a body | ``application/offset+octet-stream`` | ``application/partial-upload`` |
| the photo's fields | ``Upload-Metadata`` | the same, or ``Content-Disposition`` |
| the file's SHA-256 | the field ``sha256`` | ``Repr-Digest`` |
| the photo, at the end | 204, ``Content-Location`` | 201 or 200 as for a plain upload |

An answer that names the photo has its ``Repr-Digest`` if the request has ``Want-Repr-Digest``.
A client of the draft that sends ``Upload-Draft-Interop-Version: 8`` gets interim responses 104: the
first has the address of the upload before its bytes have arrived, others the offset kept so far.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from litestar import Request
from litestar.types import Message, Scope

from gateway.http.interim import send_interim
from gateway.http.limits import Limits
from gateway.http.preconditions import http_date
from gateway.http.problems import Refused
from gateway.http.query_guards import MOST_DIGITS, is_decimal
from gateway.uploads.bodies import too_large
from gateway.uploads.digests import CHECKSUMS, repr_digest
from store.blobs.partial_state import Kind, Partial

PATH = "/api/uploads"
TUS_VERSION = "1.0.0"
EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,"
    "expiration,checksum,termination,concatenation"
)
TUS_BODY, DRAFT_BODY = "application/offset+octet-stream", "application/partial-upload"

INTEROP_HEADER, INTEROP_VERSION = "Upload-Draft-Interop-Version", "8"

_OVERRIDE = b"x-http-method-override"

PARTS_MAX = 100
"""The most parts of a concatenation."""

_PART = re.compile(rf"{PATH}/([0-9a-f]{{32}})", re.ASCII)


class Creation(msgspec.Struct, frozen=True, kw_only=True):
    """The checked headers of the request that creates an upload.

    ``length`` is None if it is not known yet. ``is_last`` says that the body is the rest of the
    file. ``parts`` are the ids of a final upload's parts.
    """

    length: int | None
    is_last: bool = False
    kind: Kind = "whole"
    parts: tuple[str, ...] = ()
    concat: str = ""


class Appending(msgspec.Struct, frozen=True, kw_only=True):
    """The checked headers of a request that continues an upload; names as in ``Creation``."""

    offset: int
    length: int | None
    is_last: bool


def overridden(scope: Any) -> Any:
    """Return the scope with the method that ``X-HTTP-Method-Override`` names, as tus 1.0 demands.

    It counts for a POST to an upload, from clients behind something that lets no PATCH or DELETE
    through.
    """
    if scope["method"] != "POST" or not scope["path"].startswith(f"{PATH}/"):
        return scope
    named = {value.decode("latin-1") for name, value in scope["headers"] if name == _OVERRIDE}
    method = named.pop() if len(named) == 1 else ""
    return {**scope, "method": method} if method in ("PATCH", "DELETE") else scope


def is_draft(request: Request[Any, Any, Any]) -> bool:
    """Return whether the request speaks the draft instead of tus."""
    return "tus-resumable" not in request.headers and (
        "upload-complete" in request.headers or request.content_type[0] == DRAFT_BODY
    )


def check_version(request: Request[Any, Any, Any], *, required: bool) -> None:
    """Return if the request speaks a protocol that is supported; raises Refused.

    ``required`` is False for requests that are the same in both protocols.
    """
    version = request.headers.get("tus-resumable")
    if version == TUS_VERSION or (version is None and (not required or is_draft(request))):
        return
    raise Refused(
        "unsupported-tus-version",
        f"Tus-Resumable is {version[:20]!r}." if version else "The request has no Tus-Resumable.",
        headers={"Tus-Version": TUS_VERSION},
    )


def announce(request: Request[Any, Any, Any], headers: Mapping[str, str]) -> bool:
    """Send an interim response to a client that understands it; return whether it was sent."""
    if request.headers.get(INTEROP_HEADER) != INTEROP_VERSION or not is_draft(request):
        return False
    headers = {INTEROP_HEADER: INTEROP_VERSION, **headers}
    return send_interim(request.scope, 104, "Upload Resumption Supported", headers)


def creation(request: Request[Any, Any, Any], limits: Limits) -> Creation:
    """Read the headers of a request that creates an upload; raises Refused."""
    check_version(request, required=True)
    if is_draft(request):
        is_last = _is_complete(request)
        length = _with_body(request, 0, _length(request), is_last=is_last)
        return Creation(length=_bounded(length, limits), is_last=is_last)
    concat = request.headers.get("upload-concat", "")
    if concat.startswith("final;"):
        if "upload-length" in request.headers or has_body(request):
            raise _concat("a final upload has neither Upload-Length nor a body")
        return Creation(length=None, kind="final", parts=_parts(concat), concat=concat)
    if concat not in ("", "partial"):
        raise _concat("use partial, or final; and the addresses of the parts")
    _check_body_type(request, TUS_BODY)
    length = _length(request)
    deferred = request.headers.get("upload-defer-length")
    if deferred not in (None, "1") or (deferred is None) == (length is None):
        raise Refused(
            "invalid-upload-length",
            "The request needs either Upload-Length or Upload-Defer-Length: 1.",
        )
    kind: Kind = "part" if concat else "whole"
    return Creation(length=_bounded(length, limits), kind=kind, concat=concat)


def appending(request: Request[Any, Any, Any], limits: Limits) -> Appending:
    """Read the headers of a request that continues an upload; raises Refused."""
    check_version(request, required=True)
    draft, kind = is_draft(request), request.content_type[0]
    if kind != (DRAFT_BODY if draft else TUS_BODY):
        raise _wrong_type(kind)
    offset = request.headers.get("upload-offset", "")
    if not is_decimal(offset):
        raise Refused("invalid-upload-offset", "Upload-Offset must be a number of bytes.")
    length, is_last = _length(request), draft and _is_complete(request)
    if draft:
        length = _with_body(request, int(offset), length, is_last=is_last)
    return Appending(offset=int(offset), length=_bounded(length, limits), is_last=is_last)


def address_of(state: Partial) -> str:
    return f"{PATH}/{state.upload_id}"


def headers_of(
    state: Partial, limits: Limits, now_s: float, *, wants_digest: bool = False
) -> dict[str, str]:
    """Return the headers that say how far an upload is, in both protocols.

    ``wants_digest`` adds the digest of the file once its photo is recorded.
    """
    left_s = max(0, int(state.expires_s - now_s))
    headers = {
        "Upload-Offset": str(state.offset),
        "Upload-Complete": "?1" if state.is_complete else "?0",
    }
    if state.length is not None:
        headers["Upload-Length"] = str(state.length)
    else:
        headers["Upload-Defer-Length"] = "1"
    if state.metadata:
        headers["Upload-Metadata"] = state.metadata
    if state.concat:
        headers["Upload-Concat"] = state.concat
    if state.ending is None:
        headers["Upload-Expires"] = http_date(int(state.expires_s))
        headers["Upload-Limit"] = f"max-size={limits.max_upload_bytes}, max-age={left_s}"
    if state.recorded is not None:
        if state.sha256 is not None and wants_digest:
            headers["Repr-Digest"] = repr_digest(state.sha256)
        headers["Content-Location"] = f"/api/photos/{state.recorded.photo_id}"
    return headers


def announcing(limits: Limits) -> Callable[[Message, Scope], Awaitable[None]]:
    """Return the hook that adds the headers which tus demands of every answer, of problems too.

    It is asynchronous because Litestar runs other hooks in a thread, for each message of an answer.
    """
    offers = {
        b"tus-version": TUS_VERSION.encode(),
        b"tus-extension": EXTENSIONS.encode(),
        b"tus-max-size": str(limits.max_upload_bytes).encode(),
        b"tus-checksum-algorithm": ",".join(CHECKSUMS).encode(),
        b"accept-patch": f"{TUS_BODY}, {DRAFT_BODY}".encode(),
        b"upload-limit": f"max-size={limits.max_upload_bytes}".encode(),
    }

    async def hook(message: Message, scope: Scope) -> None:
        asked = cast("Any", scope)
        if message["type"] != "http.response.start" or not asked["path"].startswith(PATH):
            return
        headers = [*message["headers"]]
        if asked["method"] == "OPTIONS":
            headers += offers.items()
        if asked["method"] == "OPTIONS" or any(
            name == b"tus-resumable" for name, _ in asked["headers"]
        ):
            headers.append((b"tus-resumable", TUS_VERSION.encode()))
        message["headers"] = headers

    return hook


def _is_complete(request: Request[Any, Any, Any]) -> bool:
    value = request.headers.get("upload-complete")
    if value not in ("?0", "?1"):
        raise Refused("invalid-request", "Upload-Complete must be ?0 or ?1.")
    return value == "?1"


def _length(request: Request[Any, Any, Any]) -> int | None:
    text = request.headers.get("upload-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Refused("invalid-upload-length", "Upload-Length must be a number of bytes.")
    digits = text.lstrip("0") or "0"
    return int(digits) if is_decimal(digits) else 10**MOST_DIGITS  # too large in any case


def _bounded(length: int | None, limits: Limits) -> int | None:
    if length is not None and length > limits.max_upload_bytes:
        raise too_long(limits)
    return length


def _with_body(
    request: Request[Any, Any, Any], offset: int, length: int | None, *, is_last: bool
) -> int | None:
    """Return the length, which the last body reveals; raises Refused if the two contradict."""
    size = request.content_length
    if not is_last or size is None:
        return length
    if length not in (None, offset + size):
        raise contradiction(f"Upload-Length is {length}, but the body ends at {offset + size}.")
    return offset + size


def too_long(limits: Limits) -> Refused:
    """Return the problem of an upload that is larger than any photo may be."""
    headers = {"Upload-Limit": f"max-size={limits.max_upload_bytes}"}
    return Refused("upload-too-large", too_large(limits), headers=headers)


def contradiction(detail: str) -> Refused:
    """Return the problem of two lengths that contradict each other."""
    return Refused("inconsistent-upload-length", detail)


def has_body(request: Request[Any, Any, Any]) -> bool:
    """Return whether a body follows, of known length or not."""
    return bool(request.content_length) or "transfer-encoding" in request.headers


def _check_body_type(request: Request[Any, Any, Any], wanted: str) -> None:
    kind = request.content_type[0]
    if has_body(request) and kind != wanted:
        raise _wrong_type(kind)


def _wrong_type(kind: str) -> Refused:
    found = f"The Content-Type is {kind[:80]}." if kind else "The request has no Content-Type."
    return Refused("not-upload-bytes", found)


def _parts(concat: str) -> tuple[str, ...]:
    addresses = concat.removeprefix("final;").split()
    if not 0 < len(addresses) <= PARTS_MAX:
        raise _concat(f"a final upload has 1 to {PARTS_MAX} parts")
    found: list[str] = []
    for address in addresses:
        try:
            path = urlsplit(address).path
        except ValueError:
            path = ""
        match = _PART.fullmatch(path)
        if match is None:
            raise _concat(f"each part must be the address of an upload, like {PATH}/ID")
        found.append(match[1])
    if len({*found}) < len(found):
        raise _concat("each part can be used once")
    return tuple(found)


def _concat(why: str) -> Refused:
    return Refused("invalid-upload-concat", f"Upload-Concat: {why}.")
