"""Describe the headers and bodies of resumable uploads, which routes read themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from litestar.openapi.spec import (
    OpenAPIMediaType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from gateway.uploads.digests import CHECKSUMS
from gateway.uploads.resumable.protocol import DRAFT_BODY, TUS_BODY, TUS_VERSION

_NUMBER, _TEXT = "^[0-9]+$", None
"""The pattern of a header's value; headers are text, and the server says what is wrong with it."""

_DESCRIPTIONS: dict[str, tuple[str | None, str]] = {
    "Tus-Resumable": (
        _TEXT,
        (
            f"`{TUS_VERSION}`, from clients of tus. Without it, the request follows "
            "draft-ietf-httpbis-resumable-upload-11."
        ),
    ),
    "Upload-Length": (_NUMBER, "The size of the file in bytes."),
    "Upload-Defer-Length": (_NUMBER, "`1`: the size is sent with a later request."),
    "Upload-Offset": (_NUMBER, "The number of bytes that have been received before this body."),
    "Upload-Complete": (_TEXT, "`?1`: the body is the rest of the file; `?0`: it is not."),
    "Upload-Metadata": (
        _TEXT,
        (
            "Pairs of a name, a space and a value in Base64, separated by commas: `filename`, "
            "`sessionId`, `pipeline`, `priority`, `lastModified`, and `sha256` of the file in hex."
        ),
    ),
    "Upload-Concat": (
        _TEXT,
        "`partial` for a part; `final;` and the addresses of the parts, separated by spaces.",
    ),
    "Upload-Checksum": (
        _TEXT,
        (
            f"{' or '.join(f'`{each}`' for each in CHECKSUMS)}, a space, and the digest of the "
            "body in Base64."
        ),
    ),
    "Content-Digest": (_TEXT, "The `sha-256` of the body, as in RFC 9530."),
    "Repr-Digest": (_TEXT, "The `sha-256` of the file, as in RFC 9530."),
    "Want-Repr-Digest": (
        _TEXT,
        "`sha-256=10`: the answer that names the photo has the digest of its file (RFC 9530).",
    ),
    "Content-Disposition": (_TEXT, "The name of the file, as `filename` or `filename*`."),
}

_OF_CREATION = tuple(each for each in _DESCRIPTIONS if each != "Upload-Offset")
_OF_APPEND = (
    *("Tus-Resumable", "Upload-Offset", "Upload-Complete", "Upload-Length"),
    *("Upload-Checksum", "Content-Digest", "Want-Repr-Digest"),
)


@dataclass
class ResumableCreation(Operation):
    """Describe the request that creates an upload, and may begin it."""

    def __post_init__(self) -> None:
        self.parameters = _with(self.parameters, _OF_CREATION)
        self.request_body = _bytes(required=False)


@dataclass
class ResumableAppend(Operation):
    """Describe the request that continues an upload."""

    def __post_init__(self) -> None:
        self.parameters = _with(self.parameters, _OF_APPEND)
        self.request_body = _bytes(required=True)


def _with(parameters: Sequence[Parameter | Reference] | None, headers: Sequence[str]) -> list[Any]:
    return [
        *(parameters or ()),
        *(
            Parameter(
                name=name,
                param_in="header",
                required=name == "Upload-Offset",
                description=_DESCRIPTIONS[name][1],
                schema=Schema(type=OpenAPIType.STRING, pattern=_DESCRIPTIONS[name][0]),
            )
            for name in headers
        ),
    ]


def _bytes(*, required: bool) -> RequestBody:
    media = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))
    return RequestBody(required=required, content={TUS_BODY: media, DRAFT_BODY: media})
