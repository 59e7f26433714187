"""Receive a photo as multipart/form-data (RFC 7578), streaming it into a draft blob.

Nothing in the form is trusted: the first bytes of the file determine its format, and every count
and size is limited. The file's bytes are passed on, not kept in memory.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec
from litestar import Request
from multipart import (  # pyright: ignore[reportMissingTypeStubs] # typed, without a marker
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
)

from domain.photo.commands import FIRST_MODIFIED_MS, LAST_MODIFIED_MS
from domain.photo.formats import HEAD_BYTES, refusal, sniff
from domain.pipeline.stages import DEFAULT_PIPELINE, DEFAULT_PRIORITY, check
from domain.rejections import QuotaBytes
from gateway.http.limits import Limits
from gateway.http.problems import Refused
from gateway.http.query_guards import SHOWN, is_decimal
from gateway.http.session_ids import checked_session_id
from gateway.uploads import part_header
from gateway.uploads.bodies import body_of, shown_size, too_large
from gateway.uploads.digests import digests_of
from gateway.uploads.filenames import clean
from gateway.uploads.part_header import InvalidHeader, PartHeader
from store.blobs.interface import Draft

FILE = "file"
FIELDS = ("sessionId", "pipeline", "priority", "lastModified")
BOUNDARY_MAX = 200
HEADER_MAX_BYTES = 8_192
"""A name of 255 characters takes up to 2,300 bytes in ``filename*``, and 1,400 in ``filename``."""

AS_IT_IS = ("7bit", "8bit", "binary")
"""The values of Content-Transfer-Encoding that leave the bytes of a part as they are."""

OVERHEAD_BYTES = 64 * 1024
"""The most bytes that boundaries and headers of the parts may add to a body."""


class Form(msgspec.Struct, kw_only=True):
    """The fields of the form, and what is known of its file besides the bytes.

    ``last_modified_ms`` is when the client's file was changed, in milliseconds since 1970 (UTC).
    """

    session_id: str | None = None
    pipeline: str = DEFAULT_PIPELINE
    priority: int = DEFAULT_PRIORITY
    last_modified_ms: int | None = None
    filename: str = ""
    mime_type: str = ""


def least_file_bytes(request: Request[Any, Any, Any], limits: Limits) -> int:
    """Return the least size of the file that the Content-Length implies."""
    return (request.content_length or 0) - limits.max_field_bytes - OVERHEAD_BYTES


CheckSession = Callable[[str], Awaitable[None]]
"""Raises if the session with this id takes no uploads."""


async def receive_form(
    request: Request[Any, Any, Any],
    draft: Draft,
    limits: Limits,
    room: int | None = None,
    check_session: CheckSession | None = None,
) -> Form:
    """Read the whole body, and write the file's bytes to ``draft``.

    ``room`` is the number of bytes left in the client's quota, None without a quota.
    ``check_session`` is called once the form names a session: before the file is received, if the
    file comes later.

    Raises:
        Refused: the body is not a form with one photo of a known format within the limits, or
            differs from its ``Content-Digest`` or ``Repr-Digest``.
        Rejected: the pipeline or priority is invalid, or the file exceeds ``room``.
        Full: the storage has no space for the file.
    """
    boundary = _boundary(request)
    if (request.content_length or 0) > _max_body(limits):
        raise Refused("upload-too-large", too_large(limits))
    parser = PushMultipartParser(
        boundary,
        max_segment_count=limits.max_fields + 1,
        max_header_size=HEADER_MAX_BYTES,
        # Any byte decodes as Latin-1; names are decoded properly afterwards.
        header_charset="latin-1",
    )
    digests = digests_of(request, "Content-Digest", "Repr-Digest")
    reception = _Reception(draft, limits, room, check_session)
    try:
        async for chunk in _body(request, limits):
            digests.update(chunk)
            for event in parser.parse(chunk):
                await reception.take(event)
        parser.close()
    except MultipartError as error:
        raise Refused(*_malformed(error, limits)) from error
    except InvalidHeader as error:
        raise Refused("malformed-multipart", f"The form is malformed: {error}.") from error
    digests.check()
    return reception.form()


def _boundary(request: Request[Any, Any, Any]) -> str:
    kind, options = request.content_type
    if kind != "multipart/form-data":
        found = f"The Content-Type is {kind[:80]}." if kind else "The request has no Content-Type."
        raise Refused("not-multipart", found)
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= BOUNDARY_MAX:
        raise Refused(
            "malformed-multipart",
            f"The boundary in Content-Type must have 1 to {BOUNDARY_MAX} characters.",
        )
    return boundary


async def _body(request: Request[Any, Any, Any], limits: Limits) -> AsyncGenerator[bytes]:
    left = _max_body(limits)
    async for chunk in body_of(request, limits):
        left -= len(chunk)
        if left < 0:
            raise Refused("upload-too-large", too_large(limits))
        yield chunk


class _Reception:
    """Process the parser's events: for each part its head, its bytes, and None at its end."""

    def __init__(
        self, draft: Draft, limits: Limits, room: int | None, check_session: CheckSession | None
    ) -> None:
        self._draft = draft
        self._check_session = check_session
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
        """Return the complete form; raises Refused, ``missing-file``."""
        if not self._seen_file:
            raise Refused("missing-file", 'The form has no field "file".')
        return self._form

    def _begin(self, segment: MultipartSegment) -> None:
        part = _header_of(segment)
        self._field, self._value = part.name, bytearray()
        if self._field == FILE:
            if self._seen_file:
                raise Refused("too-many-files", 'The form has more than one field "file".')
            self._seen_file = True
            self._form.filename = clean(part.filename or "", self._limits.filename_max)
        elif self._field not in FIELDS:
            raise self._unknown(bool(part.filename))

    def _unknown(self, has_file: bool) -> Refused:
        """Reject an unknown field before its value arrives; it may be a misspelt known one."""
        name = self._field[:SHOWN]
        if has_file and not self._seen_file:
            detail = f'The form has no field "file", but a file in the field {name!r}.'
            return Refused("missing-file", detail)
        return Refused("unknown-field", f"Unknown form field {name!r}.")

    async def _end(self) -> None:
        if self._field != FILE:
            self._once(self._field)
            set_field(self._form, self._field, bytes(self._value))
            session_id = self._form.session_id if self._field == "sessionId" else None
            if self._check_session is not None and session_id is not None:
                await self._check_session(session_id)
            return
        if self._draft.size + len(self._head) == 0:
            raise Refused("empty-file", "The file in the form has 0 bytes.")
        if not self._form.mime_type:
            await self._recognise()

    def _once(self, field: str) -> None:
        if field in self._seen_fields:
            detail = f'The form has more than one field "{field}".'
            raise Refused("too-many-fields", detail, advice="Send each field once.")
        self._seen_fields.add(field)

    async def _write(self, chunk: bytes | bytearray) -> None:
        size = self._draft.size + len(self._head) + len(chunk)
        if size > self._limits.max_upload_bytes:
            raise Refused("upload-too-large", too_large(self._limits))
        if self._room is not None and size > self._room:
            raise QuotaBytes(f"The client's quota has room for only {shown_size(self._room)} more.")
        if self._form.mime_type:
            await self._draft.write(chunk)
            return
        self._head += chunk
        if len(self._head) >= HEAD_BYTES:
            await self._recognise()

    async def _recognise(self) -> None:
        """Detect the format from the first bytes, before receiving the others."""
        known = sniff(bytes(self._head[:HEAD_BYTES]))
        if known is None:
            raise Refused("unsupported-type", refusal(bytes(self._head)))
        self._form.mime_type = known[1]
        await self._draft.write(self._head)
        self._head = bytearray()

    def _collect(self, chunk: bytes | bytearray) -> None:
        self._fields_left -= len(chunk)
        if self._fields_left < 0:
            limit = self._limits.max_field_bytes
            raise Refused(
                "field-too-large", f"The form fields other than the file exceed {limit} bytes."
            )
        self._value += chunk


def set_field(form: Form, field: str, value: bytes) -> None:
    """Check a field as soon as it is complete, so that an invalid one does not cost an upload."""
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise Refused(
            "malformed-multipart", f"The form field {field!r} is not valid UTF-8."
        ) from error
    match field:
        case "sessionId" if text:
            form.session_id = checked_session_id(text)
        case "pipeline" if text:
            check(text, DEFAULT_PRIORITY)
            form.pipeline = text
        case "priority" if text:
            if not (is_decimal(text) and len(text) <= 2):
                raise Refused("invalid-priority", f"{text[:SHOWN]!r} is not a valid priority.")
            check(DEFAULT_PIPELINE, int(text))
            form.priority = int(text)
        case "lastModified" if text:
            form.last_modified_ms = _milliseconds(text)
        case _:
            pass  # empty: the default applies


def _milliseconds(text: str) -> int:
    """Parse what a browser gives as ``File.lastModified``."""
    if is_decimal(text.removeprefix("-")) and FIRST_MODIFIED_MS <= int(text) <= LAST_MODIFIED_MS:
        return int(text)
    raise Refused("invalid-last-modified", f"{text[:SHOWN]!r} is not a valid lastModified.")


def _header_of(segment: MultipartSegment) -> PartHeader:
    """Read the headers of a part; raises InvalidHeader."""
    dispositions = [value for name, value in segment.headerlist if name == "Content-Disposition"]
    if len(dispositions) != 1:
        raise InvalidHeader("a part has more than one Content-Disposition")
    for name, value in segment.headerlist:
        if name == "Content-Transfer-Encoding" and value.strip().lower() not in AS_IT_IS:
            raise InvalidHeader(f"a part is in the encoding {value.strip()[:SHOWN]!r}, not binary")
    return part_header.parse(dispositions[0])


def _malformed(error: MultipartError, limits: Limits) -> tuple[str, str]:
    if "segment count" in str(error):
        return "too-many-fields", f"The form has more than {limits.max_fields} fields."
    if "header length" in str(error):
        detail = f"A part of the form has a header of more than {HEADER_MAX_BYTES} bytes."
        return "malformed-multipart", detail
    return "malformed-multipart", f"The form is malformed: {error}."


def _max_body(limits: Limits) -> int:
    return limits.max_upload_bytes + limits.max_field_bytes + OVERHEAD_BYTES
