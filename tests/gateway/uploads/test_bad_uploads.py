"""Every invalid upload is rejected with its own code, and leaves no file and no event behind."""

from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from gateway.http.limits import Limits
from store.log.position import Position
from tests.gateway.conftest import Gateway, picture

UPLOAD = "/api/photos/upload"
FORM = "multipart/form-data; boundary=x"
LIMITS = Limits(max_upload_bytes=200_000, max_fields=4, max_field_bytes=1_000)


@pytest.fixture(scope="module")
def module_limits() -> Limits:
    return LIMITS


@pytest.fixture
def projecting() -> bool:
    return False


class Bad(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and how it is rejected."""

    what: str
    body: bytes
    status: int
    code: str
    content_type: str = FORM
    says: str = ""


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--x--\r\n"


def with_field(name: str, value: str) -> bytes:
    return form(part(name, value.encode()), part("file", picture(), "a.png"))


FILE = part("file", picture(), "a.png")
LARGE = picture() + bytes(LIMITS.max_upload_bytes)

CASES = [
    Bad(
        what="no form at all",
        body=b'{"file": "a.png"}',
        content_type="application/json",
        status=415,
        code="not-multipart",
        says="application/json",
    ),
    Bad(
        what="no type",
        body=form(FILE),
        content_type="",
        status=415,
        code="not-multipart",
        says="no Content-Type",
    ),
    Bad(
        what="no boundary",
        body=form(FILE),
        content_type="multipart/form-data",
        status=400,
        code="malformed-multipart",
    ),
    Bad(
        what="an endless boundary",
        body=form(FILE),
        content_type=f"multipart/form-data; boundary={'x' * 201}",
        status=400,
        code="malformed-multipart",
    ),
    Bad(what="nothing", body=b"", status=400, code="malformed-multipart"),
    Bad(what="noise", body=b"\x00\xff" * 500, status=400, code="malformed-multipart"),
    Bad(what="no end", body=FILE, status=400, code="malformed-multipart"),
    Bad(
        what="a part without Content-Disposition",
        body=b"--x\r\nContent-Type: image/png\r\n\r\n" + picture() + b"\r\n--x--\r\n",
        status=400,
        code="malformed-multipart",
    ),
    Bad(
        what="an endless head of a part",
        body=b"--x\r\nContent-Disposition: " + b"a" * 10_000 + b"\r\n\r\n",
        status=400,
        code="malformed-multipart",
    ),
    Bad(
        what="a part shorter than it says",
        body=form(FILE.replace(b"\r\n\r\n", b"\r\nContent-Length: 9999\r\n\r\n", 1)),
        status=400,
        code="malformed-multipart",
    ),
    Bad(
        what="a field in another encoding",
        body=form(part("sessionId", b"\xff\xfe"), FILE),
        status=400,
        code="malformed-multipart",
    ),
    Bad(what="a form without fields", body=b"--x--\r\n", status=400, code="missing-file"),
    Bad(
        what="fields alone",
        body=form(part("sessionId", b"trip")),
        status=400,
        code="missing-file",
        says="file",
    ),
    Bad(
        what="a file under another name",
        body=form(part("photo", picture(), "a.png")),
        status=400,
        code="missing-file",
        says="a file in the field 'photo'",
    ),
    Bad(what="an empty file", body=form(part("file", b"", "a.png")), status=400, code="empty-file"),
    Bad(what="two files", body=form(FILE, FILE), status=400, code="too-many-files"),
    Bad(
        what="many fields",
        body=form(*[part("sessionId", b"") for _ in range(10)], FILE),
        status=400,
        code="too-many-fields",
    ),
    Bad(
        what="a large field",
        body=form(FILE, part("sessionId", b"a" * 1_001)),
        status=400,
        code="field-too-large",
    ),
    Bad(
        what="a large file under another name",
        body=form(part("photo", LARGE, "a.png")),
        status=400,
        code="missing-file",
        says="a file in the field 'photo'",
    ),
    Bad(
        what="a large file beside the photo",
        body=form(FILE, part("raw", LARGE, "a.dng")),
        status=400,
        code="unknown-field",
        says="'raw'",
    ),
    *(
        Bad(
            what=f"the unknown field {name!r}",
            body=form(*parts),
            status=400,
            code="unknown-field",
            says=repr(shown),
        )
        for name, shown, parts in (
            ("album", "album", (part("album", b"summer"), FILE)),
            ("after the file", "album", (FILE, part("album", b"summer"))),
            ("empty", "album", (FILE, part("album", b""))),
            ("another case", "sessionid", (FILE, part("sessionid", b"trip"))),
            ("misspelt", "priorty", (FILE, part("priorty", b"9"))),
            ("no name", "", (part("", b"x"), FILE)),
            ("with a blank", "priority ", (FILE, part("priority ", b"9"))),
            ("long", "é" * 40, (FILE, part("é" * 400, b"9"))),
        )
    ),
    Bad(
        what="text",
        body=form(part("file", b"not a picture, whatever its name says", "a.jpg")),
        status=415,
        code="unsupported-type",
        says="JPEG, PNG, WebP, GIF, TIFF, AVIF, HEIC, HEIF",
    ),
    Bad(
        what="a page with a script",
        body=form(part("file", b"<svg onload=alert(1)>" + b" " * 100, "a.svg")),
        status=415,
        code="unsupported-type",
        says="SVG is not supported. Upload one of: JPEG, PNG, WebP",
    ),
    Bad(
        what="a video",
        body=form(part("file", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(99), "a.jpg")),
        status=415,
        code="unsupported-type",
        says="MP4 video is not supported.",
    ),
    Bad(
        what="one byte",
        body=form(part("file", b"\xff", "a.jpg")),
        status=415,
        code="unsupported-type",
    ),
    Bad(
        what="one byte too many",
        body=form(part("file", LARGE[: LIMITS.max_upload_bytes + 1], "a.png")),
        status=413,
        code="upload-too-large",
        says="200 kB",
    ),
    Bad(
        what="a body whose length alone is too large",
        body=form(part("file", LARGE * 2, "a.png")),
        status=413,
        code="upload-too-large",
    ),
    Bad(
        what="a session id with a line break",
        body=with_field("sessionId", "a\nb"),
        status=400,
        code="invalid-session",
    ),
    Bad(
        what="a long session id",
        body=with_field("sessionId", "s" * 129),
        status=400,
        code="invalid-session",
    ),
    Bad(
        what="no such pipeline",
        body=with_field("pipeline", "magic"),
        status=400,
        code="unknown-pipeline",
        says="magic",
    ),
    *(
        Bad(
            what=f"{name} twice",
            body=form(part(name, value), part(name, value), FILE),
            status=400,
            code="too-many-fields",
            says=name,
        )
        for name, value in (
            ("priority", b"3"),
            ("sessionId", b"trip"),
            ("pipeline", b"quick_processing"),
            ("lastModified", b"0"),
        )
    ),
    *(
        Bad(
            what=f"lastModified {text}",
            body=with_field("lastModified", text),
            status=400,
            code="invalid-last-modified",
            says=text[:40],
        )
        for text in (
            *("yesterday", "2026-11-29T03:00:00Z", "1.5", "1e3", "+1", "--1", "-", " 1", "٣"),
            *("-62135596800001", "253402300800000", "9" * 40),
        )
    ),
    *(
        Bad(
            what=f"priority {text}",
            body=with_field("priority", text),
            status=400,
            code="invalid-priority",
        )
        for text in ("0", "11", "-1", "1.5", "high", "٣", "9" * 40)
    ),
]


async def chunked(body: bytes) -> AsyncGenerator[bytes]:
    """Yield a body whose length is not announced."""
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.what)
async def test_an_invalid_upload_is_rejected_and_leaves_nothing_behind(
    shared_gateway: Gateway, bad: Bad
) -> None:
    for body in (bad.body, chunked(bad.body)):
        answer = await shared_gateway.client.post(
            UPLOAD,
            content=body,
            headers={"Content-Type": bad.content_type} if bad.content_type else None,
        )

        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (bad.status, bad.code), problem
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert bad.says in problem["detail"]
        assert shared_gateway.stored() == []
    assert await shared_gateway.log.end(0) == Position.start(0)


async def test_the_largest_allowed_file_is_accepted(gateway: Gateway) -> None:
    answer = await gateway.upload(LARGE[: LIMITS.max_upload_bytes])

    assert answer.status_code == 201


async def test_hostile_files_are_rejected_or_stored_unchanged(
    gateway: Gateway, photos: Path
) -> None:
    small = [
        file.read_bytes()
        for file in (photos / "hostile").iterdir()
        if file.stat().st_size < LIMITS.max_upload_bytes
    ]

    answers = [await gateway.upload(data) for data in small]

    assert {answer.status_code for answer in answers} <= {201, 200, 415}


@pytest.mark.parametrize(
    ("headers", "code"),
    [({}, "missing-token"), ({"Authorization": "Bearer nonsense"}, "invalid-token")],
)
async def test_an_upload_without_a_valid_token_is_rejected_before_anything_is_stored(
    gateway: Gateway, headers: dict[str, str], code: str
) -> None:
    del gateway.client.headers["Authorization"]

    answer = await gateway.client.post(
        UPLOAD, content=chunked(form(part("file", LARGE, "a.png"))), headers=headers
    )

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert gateway.stored() == []
