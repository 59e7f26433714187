"""Requests that lie, and clients that want more than their share."""

from collections.abc import Mapping

import anyio
import httpx
import msgspec
import pytest

from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway, picture
from tests.gateway.uploads.resumable.requests import (
    TUS,
    TUS_BODY,
    UPLOADS,
    append,
    create,
    created,
    encoded,
    kept,
    offset_of,
    problem_of,
)
from tests.gateway.uploads.test_uploads import events
from tests.gateway.wire import connected

OPEN_MAX = 5

LIMITS = Limits(
    append_patience_s=1.0,
    linger_s=0.2,
    max_upload_bytes=1_000_000,
    open_uploads=OPEN_MAX,
    upload_patience_s=0.3,
)


@pytest.fixture(scope="module")
def module_limits() -> Limits:
    return LIMITS


@pytest.fixture
def projecting() -> bool:
    return False


OTHER = f"{UPLOADS}/{'0' * 32}"


class Bad(msgspec.Struct, frozen=True, kw_only=True):
    """The headers of a creation, and how it is rejected."""

    what: str
    headers: Mapping[str, str]
    status: int
    code: str


CASES = [
    Bad(what="no length", headers={}, status=400, code="invalid-upload-length"),
    Bad(
        what="a negative length",
        headers={"Upload-Length": "-1"},
        status=400,
        code="invalid-upload-length",
    ),
    Bad(
        what="a length in words",
        headers={"Upload-Length": "١٢"},
        status=400,
        code="invalid-upload-length",
    ),
    Bad(
        what="an immense length",
        headers={"Upload-Length": "9" * 5_000},
        status=413,
        code="upload-too-large",
    ),
    Bad(
        what="one byte too many",
        headers={"Upload-Length": "1000001"},
        status=413,
        code="upload-too-large",
    ),
    Bad(what="no bytes", headers={"Upload-Length": "0"}, status=400, code="empty-file"),
    Bad(
        what="a length and none",
        headers={"Upload-Length": "9", "Upload-Defer-Length": "1"},
        status=400,
        code="invalid-upload-length",
    ),
    Bad(
        what="an unknown version",
        headers={"Upload-Length": "9", "Tus-Resumable": "0.2.2"},
        status=412,
        code="unsupported-tus-version",
    ),
    Bad(
        what="metadata that is no Base64",
        headers={"Upload-Length": "9", "Upload-Metadata": "filename a.png"},
        status=400,
        code="invalid-upload-metadata",
    ),
    Bad(
        what="metadata twice",
        headers={"Upload-Length": "9", "Upload-Metadata": "filename YQ==,filename YQ=="},
        status=400,
        code="invalid-upload-metadata",
    ),
    Bad(
        what="an unknown field",
        headers={"Upload-Length": "9", "Upload-Metadata": "prority NQ=="},
        status=400,
        code="invalid-upload-metadata",
    ),
    Bad(
        what="endless metadata",
        headers={"Upload-Length": "9", "Upload-Metadata": f"filename {'YWFh' * 4_000}"},
        status=400,
        code="invalid-upload-metadata",
    ),
    Bad(
        what="an unknown pipeline",
        headers={"Upload-Length": "9", "Upload-Metadata": encoded(pipeline="x")},
        status=400,
        code="unknown-pipeline",
    ),
    Bad(
        what="half a digest",
        headers={"Upload-Length": "9", "Upload-Metadata": encoded(sha256="ab")},
        status=400,
        code="invalid-digest",
    ),
    Bad(
        what="a part outside",
        headers={"Upload-Concat": "final;../../x"},
        status=400,
        code="invalid-upload-concat",
    ),
    Bad(
        what="a part elsewhere",
        headers={"Upload-Concat": f"final;{UPLOADS}/../../../etc/passwd"},
        status=400,
        code="invalid-upload-concat",
    ),
    Bad(
        what="no parts",
        headers={"Upload-Concat": "final;"},
        status=400,
        code="invalid-upload-concat",
    ),
    Bad(
        what="a part twice",
        headers={"Upload-Concat": f"final;{OTHER} {OTHER}"},
        status=400,
        code="invalid-upload-concat",
    ),
    Bad(
        what="a part that is not there",
        headers={"Upload-Concat": f"final;{OTHER}"},
        status=404,
        code="upload-not-found",
    ),
    Bad(
        what="a kind that is not known",
        headers={"Upload-Length": "9", "Upload-Concat": "half"},
        status=400,
        code="invalid-upload-concat",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
async def test_a_creation_that_cannot_be_meant_is_rejected(
    shared_gateway: Gateway, case: Bad
) -> None:
    headers = {**TUS, **case.headers}

    answer = await shared_gateway.client.post(
        UPLOADS, headers=[(name.encode(), value.encode()) for name, value in headers.items()]
    )

    assert await problem_of(answer) == (case.status, case.code)
    assert kept(shared_gateway) == []


@pytest.mark.parametrize("offset", ["7", "-1", "x", "1e1", "9" * 30])
async def test_an_offset_that_lies_changes_nothing(gateway: Gateway, offset: str) -> None:
    address = await created(gateway, 1000)

    answer = await append(gateway, address, offset, b"x")

    assert answer.json()["code"] in ("upload-offset-mismatch", "invalid-upload-offset")
    assert await offset_of(gateway, address) == 0


async def test_a_body_longer_than_announced_is_rejected_before_it_is_read(
    gateway: Gateway,
) -> None:
    address = await created(gateway, 70)

    answer = await append(gateway, address, 0, picture()[:71])

    assert await problem_of(answer) == (400, "inconsistent-upload-length")
    assert await offset_of(gateway, address) == 0


async def test_a_body_of_unknown_length_that_is_too_long_ends_the_upload(
    gateway: Gateway,
) -> None:
    data = picture()
    address = await created(gateway, 70)

    async def body():
        yield data[:40]
        yield data[40:] + bytes(200_000)

    answer = await gateway.client.patch(
        address, content=body(), headers={**TUS_BODY, "Upload-Offset": "0"}
    )

    assert await problem_of(answer) == (400, "inconsistent-upload-length")
    assert await problem_of(await gateway.client.get(address)) == (410, "upload-gone")
    assert await events(gateway) == []
    assert kept(gateway) == []


async def test_a_creation_that_fails_leaves_nothing(gateway: Gateway) -> None:
    data = picture()

    longer = await gateway.client.post(
        UPLOADS, content=data, headers={**TUS_BODY, "Upload-Length": f"{len(data) - 1}"}
    )
    async with connected(gateway) as wire:  # the client never learns the address
        await wire.send(patch(gateway, UPLOADS, 900).replace(b"PATCH", b"POST", 1) + data[:50])
        await wire.answer()

    assert await problem_of(longer) == (400, "inconsistent-upload-length")
    assert kept(gateway) == []


async def test_an_upload_of_another_client_is_not_found(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data), Upload_Concat="partial")
    await append(gateway, address, 0, data)

    answers = [
        await gateway.client.get(address, headers=gateway.bearer("bob")),
        await append(gateway, address, 0, b"x", name="bob"),
        await gateway.client.delete(address, headers={**TUS, **gateway.bearer("bob")}),
        await create(gateway, None, name="bob", Upload_Concat=f"final;{address}"),
    ]

    assert [await problem_of(answer) for answer in answers] == [(404, "upload-not-found")] * 4
    assert await offset_of(gateway, address) == len(data)


@pytest.mark.parametrize("upload_id", ["x", "0" * 31, "0" * 33, "..%2f..%2fx", "%2e%2e", "A" * 32])
async def test_an_id_that_cannot_be_one_is_not_found(
    shared_gateway: Gateway, upload_id: str
) -> None:
    answer = await shared_gateway.client.get(f"{UPLOADS}/{upload_id}")

    assert answer.status_code == 404


async def test_unfinished_uploads_of_a_client_are_bounded(gateway: Gateway) -> None:
    answers: list[httpx.Response] = []

    async def one() -> None:
        answers.append(await create(gateway, 1000))

    async with anyio.create_task_group() as group:
        for _ in range(4 * OPEN_MAX):
            group.start_soon(one)

    taken = [answer for answer in answers if answer.status_code == 201]
    refused = [await problem_of(answer) for answer in answers if answer.status_code != 201]
    assert len(taken) == OPEN_MAX
    assert {*refused} == {(429, "too-many-open-uploads")}
    assert (await create(gateway, 1000, name="bob")).status_code == 201
    await gateway.client.delete(taken[0].headers["Location"], headers=TUS)
    assert (await create(gateway, 1000)).status_code == 201


async def test_a_body_that_stalls_keeps_what_has_arrived(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data))

    async with connected(gateway) as wire:
        await wire.send(patch(gateway, address, len(data)) + data[:50])
        answer = await wire.answer()

    assert answer.startswith(b"HTTP/1.1 408")
    assert await offset_of(gateway, address) == 50


async def test_a_cut_connection_keeps_what_has_arrived(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data))

    async with connected(gateway) as wire:
        await wire.send(patch(gateway, address, len(data)) + data[:50])

    assert await offset_of(gateway, address) in (0, 50)
    done = await append(gateway, address, (at := await offset_of(gateway, address)), data[at:])
    assert "Content-Location" in done.headers


def patch(gateway: Gateway, address: str, length: int, offset: int = 0) -> bytes:
    """Return the head of a request that continues the upload by ``length`` bytes."""
    lines = [
        f"PATCH {address} HTTP/1.1",
        f"Host: {gateway.host}",
        f"Authorization: Bearer {gateway.tokens['alice']}",
        "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream",
        f"Upload-Offset: {offset}",
        f"Upload-Length: {offset + length}",
        f"Content-Length: {length}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
