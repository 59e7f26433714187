"""A file in an unsupported format is rejected by its first bytes, before the others arrive."""

import msgspec
import pytest

from domain.photo.formats import HEAD_BYTES
from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway
from tests.gateway.wire import connected, request

FILE_BYTES = 50_000_000
"""As announced; none of them is sent beyond the first."""

HEADS: dict[str, bytes] = {
    "text": b"not a picture, whatever its name says" + b" " * 64,
    "SVG": b"<svg onload=alert(1)>" + b" " * 64,
}


@pytest.fixture
def projecting() -> bool:
    return False


@pytest.fixture
def limits() -> Limits:
    return Limits(upload_patience_s=20.0, linger_s=0.1)


@pytest.mark.parametrize("name", HEADS)
async def test_an_unsupported_format_is_rejected_before_the_file_has_arrived(
    gateway: Gateway, name: str
) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    async with connected(gateway) as wire:
        await wire.send(request(gateway, len(part) + FILE_BYTES) + part + HEADS[name][:HEAD_BYTES])
        head, body = await wire.answer(), await wire.rest()

    assert head.startswith(b"HTTP/1.1 415 ")
    problem = msgspec.json.decode(_dechunked(head, body))
    assert problem["code"] == "unsupported-type"
    assert gateway.stored() == []


def _dechunked(head: bytes, body: bytes) -> bytes:
    length = next(
        int(line.partition(b":")[2])
        for line in head.lower().splitlines()
        if line.startswith(b"content-length:")
    )
    return body[:length]
