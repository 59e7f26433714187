"""Uploads by draft-ietf-httpbis-resumable-upload-11, also with curl."""

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from anyio import to_thread

from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway, picture
from tests.gateway.uploads.resumable.requests import (
    DRAFT_BODY,
    UPLOADS,
    append,
    created,
    problem_of,
)
from tests.gateway.uploads.test_uploads import UPLOAD, events
from tests.gateway.wire import connected
from tests.servers import unavailable

INCOMPLETE, COMPLETE = {"Upload-Complete": "?0"}, {"Upload-Complete": "?1"}


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, linger_s=2.0, max_upload_bytes=8_000_000)


@pytest.mark.parametrize("path", [UPLOADS, UPLOAD])
async def test_an_upload_in_two_requests_is_answered_like_a_plain_one(
    gateway: Gateway, path: str
) -> None:
    data = picture()
    named = {"Content-Disposition": "inline; filename*=UTF-8''%C3%BC.png"}

    first = await gateway.client.post(path, content=data[:30], headers={**INCOMPLETE, **named})
    address = first.headers["Location"]
    head = await gateway.client.head(address)
    last = await gateway.client.patch(
        address,
        content=data[30:],
        headers={**COMPLETE, **DRAFT_BODY, "Upload-Offset": "30"},
    )

    assert (first.status_code, first.headers["Upload-Complete"]) == (201, "?0")
    assert (first.content, first.headers["Content-Length"]) == (b"", "0")
    assert "Content-Type" not in first.headers
    assert "max-size=8000000" in first.headers["Upload-Limit"]
    assert (head.headers["Upload-Offset"], head.headers["Upload-Complete"]) == ("30", "?0")
    assert (last.status_code, last.headers["Upload-Complete"]) == (201, "?1")
    assert last.headers["Location"] == f"/api/photos/{last.json()['photoId']}"
    [event] = await events(gateway)
    assert event.original_filename == "ü.png"


async def test_a_whole_file_in_one_request_is_a_photo(gateway: Gateway) -> None:
    data = picture()

    first = await gateway.client.post(UPLOAD, content=data, headers=COMPLETE)
    again = await gateway.client.post(UPLOADS, content=data, headers=COMPLETE)

    assert (first.status_code, first.json()["duplicate"]) == (201, False)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)


async def test_a_form_with_all_of_its_bytes_is_a_plain_upload(gateway: Gateway) -> None:
    answer = await gateway.client.post(UPLOAD, files={"file": picture()}, headers=COMPLETE)

    assert (answer.status_code, answer.json()["duplicate"]) == (201, False)


async def test_an_upload_is_complete_when_the_client_says_so(gateway: Gateway) -> None:
    data = picture()
    size = {"Upload-Length": str(len(data))}
    first = await gateway.client.post(UPLOADS, content=data, headers={**INCOMPLETE, **size})
    recorded = await events(gateway)

    last = await gateway.client.patch(
        first.headers["Location"],
        headers={**COMPLETE, **DRAFT_BODY, "Upload-Offset": str(len(data))},
    )

    assert recorded == []
    assert (last.status_code, last.headers["Upload-Complete"]) == (201, "?1")


async def test_a_wrong_offset_is_answered_with_the_right_one(gateway: Gateway) -> None:
    first = await gateway.client.post(UPLOADS, content=picture()[:30], headers=INCOMPLETE)

    answer = await gateway.client.patch(
        first.headers["Location"],
        content=b"x",
        headers={**COMPLETE, **DRAFT_BODY, "Upload-Offset": "7"},
    )

    assert await problem_of(answer) == (409, "upload-offset-mismatch")
    assert answer.headers["Upload-Offset"] == "30"


async def test_contradictory_lengths_are_rejected(gateway: Gateway) -> None:
    answer = await gateway.client.post(
        UPLOADS, content=picture(), headers={**COMPLETE, "Upload-Length": "7"}
    )

    assert await problem_of(answer) == (400, "inconsistent-upload-length")


async def test_a_repr_digest_covers_the_whole_file(gateway: Gateway) -> None:
    data = picture()
    right = base64.b64encode(hashlib.sha256(data).digest()).decode()
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()

    refused = await gateway.client.post(
        UPLOADS, content=data, headers={**COMPLETE, "Repr-Digest": f"sha-256=:{wrong}:"}
    )
    taken = await gateway.client.post(
        UPLOADS, content=data, headers={**COMPLETE, "Repr-Digest": f"sha-256=:{right}:"}
    )

    assert await problem_of(refused) == (400, "digest-mismatch")
    assert taken.status_code == 201


async def test_an_upload_of_one_protocol_can_be_continued_by_the_other(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data))
    await gateway.client.patch(
        address, content=data[:30], headers={**INCOMPLETE, **DRAFT_BODY, "Upload-Offset": "0"}
    )

    done = await append(gateway, address, 30, data[30:])

    assert "Content-Location" in done.headers


async def test_a_single_request_that_is_cut_off_can_be_resumed(gateway: Gateway) -> None:
    data = picture() + bytes(5_000_000)
    async with connected(gateway) as wire:
        await wire.send(post(gateway, len(data), "Upload-Draft-Interop-Version: 8"))
        interim = (await wire.answer()).decode()
        await wire.send(data[:4_500_000])
        progress = (await wire.answer()).decode()
    address = interim.split("Location: ")[1].splitlines()[0]
    head = await gateway.client.head(address)
    offset = int(head.headers["Upload-Offset"])

    last = await gateway.client.patch(
        address,
        content=data[offset:],
        headers={**COMPLETE, **DRAFT_BODY, "Upload-Offset": str(offset)},
    )

    assert interim.startswith("HTTP/1.1 104 Upload Resumption Supported\r\n")
    assert "Upload-Draft-Interop-Version: 8" in interim
    assert progress.startswith("HTTP/1.1 104 ")
    assert 4 << 20 <= int(progress.split("Upload-Offset: ")[1].split()[0]) <= offset
    assert (last.status_code, last.headers["Upload-Complete"]) == (201, "?1")
    assert [event.file_size for event in await events(gateway)] == [len(data)]


@pytest.mark.parametrize("version", ["X-Other: 8", "Upload-Draft-Interop-Version: 6"])
async def test_a_client_of_another_interop_version_gets_no_interim_response(
    gateway: Gateway, version: str
) -> None:
    data = picture()
    async with connected(gateway) as wire:
        await wire.send(post(gateway, len(data), version) + data)
        answer = await wire.answer()

    assert answer.startswith(b"HTTP/1.1 201 ")


def post(gateway: Gateway, length: int, *headers: str) -> bytes:
    """Return the head of a request that uploads a whole file."""
    lines = [
        f"POST {UPLOADS} HTTP/1.1",
        f"Host: {gateway.host}",
        f"Authorization: Bearer {gateway.tokens['alice']}",
        "Upload-Complete: ?1",
        f"Content-Length: {length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def test_curl_uploads_in_two_requests(gateway: Gateway, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        unavailable("no curl on this machine")
    data = picture()
    (tmp_path / "first").write_bytes(data[:30])
    (tmp_path / "rest").write_bytes(data[30:])

    async def curl(*options: str) -> str:
        done = await to_thread.run_sync(
            lambda: subprocess.run(
                [
                    "curl",
                    "-sS",
                    "-i",
                    "-H",
                    f"Authorization: Bearer {gateway.tokens['alice']}",
                    *options,
                ],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
        )
        return done.stdout

    first = await curl(
        "-H", "Upload-Complete: ?0", "-H", "Content-Type: image/png",
        "--data-binary", f"@{tmp_path}/first", f"{gateway.base_url}{UPLOADS}",
    )  # fmt: skip
    address = next(
        line.split(": ")[1] for line in first.splitlines() if line.lower().startswith("location")
    )
    last = await curl(
        "-X", "PATCH", "-H", "Upload-Complete: ?1", "-H", "Upload-Offset: 30",
        "-H", "Content-Type: application/partial-upload",
        "--data-binary", f"@{tmp_path}/rest", f"{gateway.base_url}{address}",
    )  # fmt: skip

    assert last.startswith("HTTP/1.1 201")
    assert [event.sha256 for event in await events(gateway)] == [hashlib.sha256(data).hexdigest()]
