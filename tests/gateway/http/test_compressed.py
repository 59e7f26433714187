"""Long answers in gzip."""

import gzip
import json

import pytest

from tests.gateway.conftest import Gateway

LISTS = ["/api/photos", "/api/photos?sort=taken"]


async def raw(gateway: Gateway, path: str, accepted: str, method: str = "GET") -> tuple[int, bytes]:
    """Return the Content-Length and the body as sent; the body is checked against its header."""
    headers = {"Accept-Encoding": accepted}
    async with gateway.client.stream(method, path, headers=headers) as answer:
        body = b"".join([part async for part in answer.aiter_raw()])
    assert answer.status_code == 200
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert answer.headers.get("Content-Encoding") == (
        "gzip" if body.startswith(b"\x1f\x8b") or method == "HEAD" else None
    )
    return int(answer.headers["Content-Length"]), body


@pytest.mark.parametrize("path", LISTS)
async def test_a_long_list_is_sent_in_gzip_to_clients_that_read_it(
    gateway: Gateway, path: str
) -> None:
    uploaded = [(await gateway.upload()) for _ in range(3)]
    position = uploaded[-1].json()["position"]
    path += f"{'&' if '?' in path else '?'}after={position}"

    plain_length, plain = await raw(gateway, path, "identity")
    packed_length, packed = await raw(gateway, path, "br, gzip")
    head_length, nothing = await raw(gateway, path, "gzip", "HEAD")

    assert json.loads(gzip.decompress(packed)) == json.loads(plain)
    assert len(json.loads(plain)["items"]) == 3
    assert packed_length == len(packed) < plain_length / 2
    assert (head_length, nothing) == (packed_length, b"")
    assert plain_length == len(plain)


async def test_a_short_answer_and_a_problem_are_sent_as_they_are(gateway: Gateway) -> None:
    headers = {"Accept-Encoding": "gzip"}

    short = await gateway.client.get("/api/photos/timeline", headers=headers)
    problem = await gateway.client.get("/api/photos?limit=0", headers=headers)

    assert (short.status_code, problem.status_code) == (200, 400)
    assert "Content-Encoding" not in {**short.headers, **problem.headers}
