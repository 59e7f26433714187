"""A photo that comes as multipart/form-data (RFC 7578), streamed into a draft blob.

Nothing is trusted and nothing is held: the file's bytes pass through, its format is told by the
first of them, and every count and size has its bound.
"""

import time
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import msgspec
from litestar import Request
from multipart import (  # pyright: ignore[reportMissingTypeStubs] # typed, without a marker
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
)

from domain.photo.formats import HEAD_BYTES, sniff
from domain.pipeline.stages import DEFAULT_PIPELINE, DEFAULT_PRIORITY, check
from domain.rejections import QuotaBytes
from gateway.http.limits import Limits
from gateway.http.problems import Refused, body_incomplete
from gateway.http.query_guards import is_decimal
from gateway.uploads.filenames import clean
from store.blobs.interface import Draft

FILE = "file"
FIELDS = ("sessionId", "pipeline", "priority")
SHOWN = 40
"""Characters of a wrong name or value that the answer repeats."""
SESSION_MAX = 128
BOUNDARY_MAX = 200
OVERHEAD_BYTES = 64 * 1024
"""What boundaries and headers of the parts may add to a body."""

ACCEPTED = "JPEG, PNG, WebP, GIF, TIFF, AVIF, HEIC, HEIF"


class Form(msgspec.Struct, kw_only=True):
    """What came beside the bytes."""

    session_id: str | None = None
    pipeline: str = DEFAULT_PIPELINE
    priority: int = DEFAULT_PRIORITY
    filename: str = ""
    mime_type: str = ""


def least_file_bytes(request: Request[Any, Any, Any], limits: Limits) -> int:
    """How large the file is at least, as far as the Content-Length shows."""
    return (request.content_length or 0) - limits.max_field_bytes - OVERHEAD_BYTES


async def receive_form(
    request: Request[Any, Any, Any], draft: Draft, limits: Limits, room: int | None = None
) -> Form:
    """Read the whole body; the file's bytes are in ``draft`` then.

    ``room`` is how many bytes the quota of the client has left, None for no quota.

    Raises:
        Refused: the body is not a form with one photo of a known format within the limits.
        Rejected: the pipeline or priority is none, or the file has no ``room``.
        Full: there is no room for the file.
    """
    boundary = _boundary(request)
    if (request.content_length or 0) > _max_body(limits):
        raise Refused("upload-too-large", _too_large(limits))
    parser = PushMultipartParser(
        boundary,
        max_segment_count=limits.max_fields + 1,
        # Any byte decodes as Latin-1; names are turned to what they are meant to be afterwards.
        header_charset="latin-1",
    )
    reception = _Reception(draft, limits, room)
    try:
        async for chunk in _body(request, limits):
            for event in parser.parse(chunk):
                await reception.take(event)
        parser.close()
    except MultipartError as error:
        raise Refused(*_malformed(error, limits)) from error
    return reception.form()


def _boundary(request: Request[Any, Any, Any]) -> str:
    kind, options = request.content_type
    if kind != "multipart/form-data":
        is_type = f"The body is {kind[:80]}." if kind else "The request has no Content-Type."
        raise Refused("not-multipart", is_type)
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= BOUNDARY_MAX:
        raise Refused("malformed-multipart", "The Content-Type names no usable boundary.")
    return boundary


async def _body(request: Request[Any, Any, Any], limits: Limits) -> AsyncGenerator[bytes]:
    give_up = time.monotonic() + limits.slow_upload_s
    left, more = _max_body(limits), True
    while more:
        patience_s = min(limits.upload_patience_s, give_up - time.monotonic())
        message: Any = None
        with anyio.move_on_after(patience_s):
            message = await request.receive()
        if message is None:
            raise Refused("upload-stalled", "The bytes of the upload did not come in time.")
        if message["type"] == "http.disconnect":
            raise body_incomplete()
        chunk, more = message.get("body", b""), message.get("more_body", False)
        left -= len(chunk)
        if left < 0:
            raise Refused("upload-too-large", _too_large(limits))
        if chunk:
            yield chunk


class _Reception:
    """Takes the parser's events: for each part its head, its bytes, and None at its end."""

    def __init__(self, draft: Draft, limits: Limits, room: int | None) -> None:
        self._draft = draft
        self._limits = limits
        self._room = room
        self._form = Form()
        self._field = ""
        self._value = bytearray()
        self._fields_left = limits.max_field_bytes
        self._head = bytearray()
        self._seen_file = False
        self._seen_fields: set[str] = set()

    async def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is None:
            await self._end()
        elif self._field == FILE:
            await self._write(event)
        else:
            self._collect(event)

    def form(self) -> Form:
        """What came; raises Refused, ``missing-file``."""
        if not self._seen_file:
            raise Refused("missing-file", 'The form has no field "file".')
        return self._form

    def _begin(self, part: MultipartSegment) -> None:
        self._field, self._value = part.name or "", bytearray()
        if self._field == FILE:
            if self._seen_file:
                raise Refused("too-many-files", 'The form has several fields "file".')
            self._seen_file = True
            self._form.filename = clean(_decoded(part.filename or ""), self._limits.filename_max)
        elif self._field not in FIELDS:
            raise self._unknown(bool(part.filename))

    def _unknown(self, has_file: bool) -> Refused:
        """Refuse a field before its value has come: a misspelt one would count as left out."""
        name = _decoded(self._field)[:SHOWN]
        if has_file and not self._seen_file:
            detail = f'The form needs a field "file": a file came as {name!r}.'
            return Refused("missing-file", detail)
        return Refused("unknown-field", f"There is no form field {name!r}.")

    async def _end(self) -> None:
        if self._field != FILE:
            self._once(self._field)
            _set(self._form, self._field, bytes(self._value))
            return
        if self._draft.size + len(self._head) == 0:
            raise Refused("empty-file", "The file has no bytes.")
        if not self._form.mime_type:
            await self._recognise()

    def _once(self, field: str) -> None:
        if field in self._seen_fields:
            detail = f'The form has several fields "{field}".'
            raise Refused("too-many-fields", detail, advice="Send each field once.")
        self._seen_fields.add(field)

    async def _write(self, chunk: bytes | bytearray) -> None:
        size = self._draft.size + len(self._head) + len(chunk)
        if size > self._limits.max_upload_bytes:
            raise Refused("upload-too-large", _too_large(self._limits))
        if self._room is not None and size > self._room:
            raise QuotaBytes(f"The quota has room for {_size(self._room)} more.")
        if self._form.mime_type:
            await self._draft.write(chunk)
            return
        self._head += chunk
        if len(self._head) >= HEAD_BYTES:
            await self._recognise()

    async def _recognise(self) -> None:
        """Tell the format by the first bytes, before the others are asked for."""
        known = sniff(bytes(self._head[:HEAD_BYTES]))
        if known is None:
            raise Refused("unsupported-type", f"The file is none of {ACCEPTED}.")
        self._form.mime_type = known[1]
        await self._draft.write(self._head)
        self._head = bytearray()

    def _collect(self, chunk: bytes | bytearray) -> None:
        self._fields_left -= len(chunk)
        if self._fields_left < 0:
            limit = self._limits.max_field_bytes
            raise Refused("field-too-large", f"The fields beside the file exceed {limit} bytes.")
        self._value += chunk


def _set(form: Form, field: str, value: bytes) -> None:
    """Check a field as soon as it is there, so that a bad one costs no upload."""
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise Refused("malformed-multipart", f"The field {field!r} is not UTF-8.") from error
    match field:
        case "sessionId" if text:
            if len(text) > SESSION_MAX or not text.isprintable():
                raise Refused("invalid-session", f"The session id is {text[:SHOWN]!r}.")
            form.session_id = text
        case "pipeline" if text:
            check(text, DEFAULT_PRIORITY)
            form.pipeline = text
        case "priority" if text:
            if not (is_decimal(text) and len(text) <= 2):
                raise Refused("invalid-priority", f"The priority is {text[:SHOWN]!r}.")
            check(DEFAULT_PIPELINE, int(text))
            form.priority = int(text)
        case _:
            pass  # left empty


def _decoded(name: str) -> str:
    """A file name as it was meant: nearly always UTF-8, as HTML has it."""
    try:
        return name.encode("latin-1").decode()
    except UnicodeDecodeError:
        return name


def _malformed(error: MultipartError, limits: Limits) -> tuple[str, str]:
    if "segment count" in str(error):
        return "too-many-fields", f"The form has more than {limits.max_fields} fields."
    return "malformed-multipart", f"{error}."


def _max_body(limits: Limits) -> int:
    return limits.max_upload_bytes + limits.max_field_bytes + OVERHEAD_BYTES


def _too_large(limits: Limits) -> str:
    return f"A photo may have {_size(limits.max_upload_bytes)} at most."


def _size(size_bytes: int) -> str:
    """In units of powers of 1000, as the settings are."""
    unit, length = next(
        (each for each in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)) if size_bytes >= each[1]),
        ("bytes", 1),
    )
    return f"{size_bytes / length:g} {unit}"
