"""Read what a resumable upload says about its photo.

tus sends fields in ``Upload-Metadata``: each a name, a space and the value in Base64, separated by
commas. A client of the draft sends the name of the file in ``Content-Disposition``, and may send
``Upload-Metadata`` too.
"""

import base64
import binascii
import re
from typing import Any

from litestar import Request

from gateway.http.problems import Refused
from gateway.http.query_guards import SHOWN
from gateway.uploads.filenames import clean
from gateway.uploads.forms import FIELDS, Form, set_field
from gateway.uploads.part_header import InvalidHeader, filename_of

HEADER = "Upload-Metadata"
METADATA_MAX = 8_192
"""The most characters of the header, which every answer to a HEAD repeats."""

IGNORED = frozenset({"filetype", "type", "name", "relativePath"})
"""Fields that clients send by themselves; the server detects the type from the bytes."""

_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_NAME = re.compile(r"[!-+\--~]+", re.ASCII)


class About(Form, kw_only=True):
    """The fields of a photo; ``sha256`` is what the client expects of the file, in hex.

    ``metadata`` is the header as it was sent.
    """

    sha256: str | None = None
    metadata: str = ""


def about(request: Request[Any, Any, Any], *, filename_max: int) -> About:
    """Return what the request's headers say about the photo.

    Raises:
        Refused: ``invalid-upload-metadata``, or the code of an invalid field.
        Rejected: the pipeline or the priority is invalid.
    """
    found = About(metadata=request.headers.get(HEADER, ""))
    name = _disposition(request)
    for field, value in _fields(found.metadata).items():
        if field == "filename" or (field == "name" and not name):
            name = _text(field, value)
        elif field == "sha256":
            found.sha256 = checked_sha256(_text(field, value))
        elif field in FIELDS:
            set_field(found, field, value)
        elif field not in IGNORED:
            known = ", ".join(("filename", "sha256", *FIELDS))
            raise Refused(
                "invalid-upload-metadata",
                f"Upload-Metadata: unknown field {field[:SHOWN]!r}.",
                advice=f"Use only {known}.",
            )
    found.filename = clean(name, filename_max)
    return found


def checked_sha256(text: str) -> str:
    """Return the digest in lower case; raises Refused, ``invalid-digest``."""
    if not _SHA256.fullmatch(text):
        raise Refused("invalid-digest", "A SHA-256 has 64 hexadecimal digits.")
    return text.lower()


def _fields(header: str) -> dict[str, bytes]:
    if len(header) > METADATA_MAX:
        raise _invalid(f"the header has more than {METADATA_MAX} characters")
    found: dict[str, bytes] = {}
    for pair in header.split(",") if header.strip() else ():
        name, _, value = pair.strip().partition(" ")
        if not _NAME.fullmatch(name):
            raise _invalid("a field has no name")
        if name in found:
            raise _invalid(f"the field {name[:SHOWN]!r} comes twice")
        try:
            found[name] = base64.b64decode(value, validate=True)
        except (ValueError, binascii.Error) as error:
            raise _invalid(f"the value of {name[:SHOWN]!r} is not in Base64") from error
    return found


def _text(field: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"the value of {field!r} is not valid UTF-8") from error


def _disposition(request: Request[Any, Any, Any]) -> str:
    header = request.headers.get("content-disposition")
    if header is None:
        return ""
    try:
        return filename_of(header) or ""
    except InvalidHeader as error:
        raise Refused("invalid-request", f"Content-Disposition: {error}.") from error


def _invalid(why: str) -> Refused:
    return Refused("invalid-upload-metadata", f"Upload-Metadata: {why}.")
