"""Digests of RFC 9530, and structured idempotency keys, of plain uploads and downloads."""

import base64
import hashlib

import httpx
import pytest

from tests.gateway.conftest import Gateway, picture
from tests.gateway.uploads.test_uploads import UPLOAD, events


def digest(data: bytes, algorithm: str = "sha-256") -> str:
    made = hashlib.new(algorithm.replace("-", ""), data).digest()
    return f"{algorithm}=:{base64.b64encode(made).decode()}:"


async def upload(gateway: Gateway, data: bytes, **headers: str) -> tuple[httpx.Response, bytes]:
    """Upload with headers; return the answer and the body that was sent."""
    request = gateway.client.build_request("POST", UPLOAD, files={"file": ("a.png", data)})
    body = request.read()
    for name, value in headers.items():
        right = value.replace("BODY", digest(body)).replace("LONG", digest(body, "sha-512"))
        request.headers[name.replace("_", "-")] = right
    return await gateway.client.send(request), body


@pytest.mark.parametrize("header", ["Content_Digest", "Repr_Digest"])
@pytest.mark.parametrize("value", ["BODY", "LONG", "BODY, LONG", "crc32c=:AAAA:, BODY"])
async def test_a_body_with_its_digest_is_taken(gateway: Gateway, header: str, value: str) -> None:
    answer, _ = await upload(gateway, picture(), **{header: value})

    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (digest(b"other"), "digest-mismatch"),
        (f"BODY, {digest(b'other', 'sha-512')}", "digest-mismatch"),
        ("sha-256=abc", "invalid-digest"),
        ("sha-256=:YQ==:", "invalid-digest"),
        ("sha-256=:Y:", "invalid-digest"),
    ],
)
async def test_a_body_with_another_digest_stores_nothing(
    gateway: Gateway, value: str, code: str
) -> None:
    answer, _ = await upload(gateway, picture(), Content_Digest=value)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert gateway.stored() == []
    assert await events(gateway) == []


async def test_a_download_has_the_digest_of_the_whole_file(gateway: Gateway) -> None:
    data = picture()
    photo = (await gateway.upload(data)).json()
    path = f"/api/photos/{photo['photoId']}/original"

    whole = await gateway.get(path, after=photo["position"])
    part = await gateway.get(path, Range="bytes=3-9")

    assert whole.headers["Repr-Digest"] == digest(data)
    assert part.headers["Repr-Digest"] == digest(data)


@pytest.mark.parametrize(
    ("key", "same"), [('"one"', "one"), (r'"a\"b\\c"', r'a"b\c'), ('"one', '"one')]
)
async def test_a_quoted_idempotency_key_is_the_string_in_it(
    gateway: Gateway, key: str, same: str
) -> None:
    first, _ = await upload(gateway, picture(), Idempotency_Key=key)
    second, _ = await upload(gateway, picture(), Idempotency_Key=same)

    assert first.status_code == 201
    assert (second.status_code, second.json()["code"]) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("empty", ['""', ""])
async def test_an_empty_key_is_rejected(gateway: Gateway, empty: str) -> None:
    answer, _ = await upload(gateway, picture(), Idempotency_Key=empty)

    assert answer.json()["code"] == "invalid-idempotency-key"
