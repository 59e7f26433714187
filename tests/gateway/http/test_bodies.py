"""Bodies that differ from their announcement, and requests rejected before their body."""

import logging
import re

import pytest

from gateway.http.limits import Limits
from store.log.position import Position
from tests.gateway.conftest import Gateway, picture, until
from tests.gateway.wire import Wire, connected, request

HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
END = b"\r\n--x--\r\n"
LIMITS = Limits(append_patience_s=1.0, linger_s=2.0, header_patience_s=5.0, after_timeout_s=0.2)


@pytest.fixture(scope="module")
def module_limits() -> Limits:
    return LIMITS


@pytest.fixture
def projecting() -> bool:
    return False


def post(gateway: Gateway, path: str, *headers: str, name: str = "operator") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {gateway.host}",
        f"Authorization: Bearer {gateway.tokens[name]}",
        "Content-Type: application/json",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def login(gateway: Gateway, length: int, *headers: str) -> bytes:
    return post(gateway, "/api/login", f"Content-Length: {length}", *headers)


def chunked(head: bytes) -> bytes:
    return head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    "path", ["/api/photos/check", "/api/photos/retry", "/api/ops/tokens/revoke"]
)
async def test_a_missing_body_is_said(shared_gateway: Gateway, path: str) -> None:
    headers = {**shared_gateway.bearer("operator"), "Content-Type": "application/json"}

    answer = (await shared_gateway.client.post(path, headers=headers)).json()

    assert (answer["code"], answer["detail"]) == ("invalid-request", "body: is missing")


def end_sending(wire: Wire) -> None:
    """Close the sending half of the connection; the answer can still be read."""
    wire.writer.write_eof()


async def test_an_upload_that_ends_early_is_rejected(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(gateway) as wire:
        await wire.send(request(gateway, 4_000_000) + HEAD + picture())
        end_sending(wire)

        answer = await wire.rest()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"body-incomplete"' in answer
    await until(lambda: gateway.stored() == [], "the draft to go")
    assert await gateway.log.end(0) == Position.start(0)
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_json_body_that_ends_early_is_rejected(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, *, chunked: bool
) -> None:
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 100"
    async with connected(gateway) as wire:
        await wire.send(post(gateway, "/api/ops/queues/metadata/cancel", length))
        await wire.send(b'5\r\n{"rea\r\n' if chunked else b'{"reason":')
        end_sending(wire)

        answer = await wire.rest()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"body-incomplete"' in answer
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def counted(gateway: Gateway, status: int) -> bool:
    metrics = (await gateway.client.get("/metrics")).text
    return any(
        "photolog_http_requests_total" in line and f'status="{status}"' in line
        for line in metrics.splitlines()
    )


@pytest.mark.parametrize("body", [b'{"reason":', b""])
async def test_a_connection_lost_during_a_body_is_not_a_server_error(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    async with connected(gateway) as wire:
        head = post(gateway, "/api/ops/queues/metadata/cancel", "Content-Length: 100")
        await wire.send(head + body)
        while not await counted(gateway, 200):  # by then the server has read it
            pass
        wire.writer.transport.abort()

    while not await counted(gateway, 499):
        pass
    assert not await counted(gateway, 500)
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_a_malformed_chunk_is_rejected(shared_gateway: Gateway) -> None:
    async with connected(shared_gateway) as wire:
        head = post(shared_gateway, "/api/ops/queues/metadata/cancel", "Transfer-Encoding: chunked")
        await wire.send(head + b"5\r\nabcde\r\nzz\r\n")

        answer = await wire.rest()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"malformed-request"' in answer


async def test_bytes_after_a_body_are_the_next_request(gateway: Gateway) -> None:
    body = b'{"reason":"x"}'
    async with connected(gateway) as wire:
        head = post(gateway, "/api/ops/queues/metadata/cancel", f"Content-Length: {len(body)}")
        await wire.send(head + body + b"and more than was announced")

        answers = await wire.rest()

    first, _, second = answers.partition(b"HTTP/1.1 400 ")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert b'"code":"malformed-request"' in second


async def test_an_upload_that_continues_after_its_end_is_recorded_and_answered(
    gateway: Gateway,
) -> None:
    body = HEAD + picture() + END
    async with connected(gateway) as wire:
        await wire.send(request(gateway, len(body)) + body + b"\0" * 100)

        answers = await wire.rest()

    assert answers.startswith(b"HTTP/1.1 201 ")
    assert answers.count(b"HTTP/1.1 400 ") == 1


async def test_malformed_bytes_after_several_requests_do_not_affect_their_answers(
    gateway: Gateway,
) -> None:
    ask = f"GET /health/ready HTTP/1.1\r\nHost: {gateway.host}\r\n\r\n".encode()
    cut = post(gateway, "/api/ops/queues/all/cancel", "Transfer-Encoding: chunked") + b"zz\r\n"
    async with connected(gateway) as wire:
        await wire.send(ask + ask + cut)

        answers = await wire.rest()

    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"503", b"503", b"400"]


@pytest.mark.parametrize("path", ["/health/live", "/api/photos", "/health"])
async def test_a_sender_that_closes_its_half_gets_its_answer(gateway: Gateway, path: str) -> None:
    lines = [f"GET {path} HTTP/1.1", f"Host: {gateway.host}"]
    async with connected(gateway) as wire:
        await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        end_sending(wire)

        answer = await wire.rest()

    assert answer.startswith(b"HTTP/1.1 ")


async def test_a_head_that_ends_early_is_rejected(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n")
        end_sending(wire)

        assert b'"code":"malformed-request"' in await wire.rest()


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [
        ("/api/ops/queues/metadata/cancel", "alice", 403),
        ("/api/ops/queues/metadata/pause", "alice", 403),
        ("/api/ops/dead-letters/retry", "auditor", 403),
        ("/api/ops/dead-letters/discard", "alice", 403),
        ("/api/ops/backfill", "auditor", 403),
        ("/api/photos/1/reprocess", "auditor", 403),
        ("/api/photos/upload", "auditor", 403),
        ("/api/ops/queues/metadata/cancel?unknown=1", "alice", 403),
        ("/api/ops/dead-letters/retry?after=nonsense", "alice", 403),
    ],
)
@pytest.mark.parametrize("body", [b"", b"not JSON", b'{"unknown":1}'])
async def test_a_forbidden_request_is_rejected_before_its_body_is_read(
    shared_gateway: Gateway, path: str, name: str, status: int, body: bytes
) -> None:
    """The body never arrives completely, so the gateway cannot have waited for it."""
    headers = ["Content-Length: 100", "Content-Encoding: gzip", 'If-Match: "x"']
    async with connected(shared_gateway) as wire:
        await wire.send(post(shared_gateway, path, *headers, name=name) + body)

        assert (await wire.answer()).startswith(f"HTTP/1.1 {status} ".encode())


async def test_an_invalid_token_is_rejected_before_all_other_checks(
    shared_gateway: Gateway,
) -> None:
    head = post(shared_gateway, "/api/ops/backfill?x=1", "Content-Length: 100", "Expect: more")
    head = head.replace(b"Bearer ", b"Bearer x")
    async with connected(shared_gateway) as wire:
        await wire.send(head)

        assert (await wire.answer()).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("header", "status", "code", "named"),
    [
        ("Content-Encoding: gzip", 415, "unsupported-encoding", "gzip"),
        ("Content-Encoding: identity, br", 415, "unsupported-encoding", "br"),
        ("Content-Encoding: GZIP \t", 415, "unsupported-encoding", "gzip"),
        ("Expect: 200-ok", 417, "expectation-failed", "200-ok"),
        ("Transfer-Encoding: gzip, chunked", 501, "unsupported-transfer-coding", "gzip"),
    ],
)
@pytest.mark.parametrize("path", ["/api/photos/upload", "/api/ops/backfill", "/api/login"])
async def test_an_unsupported_coding_is_rejected_by_name(
    shared_gateway: Gateway, path: str, header: str, status: int, code: str, named: str
) -> None:
    chunked = "Transfer-Encoding" in header
    async with connected(shared_gateway) as wire:
        head = post(shared_gateway, path, header, *([] if chunked else ["Content-Length: 2"]))
        await wire.send(head + (b"2\r\n{}\r\n0\r\n\r\n" if chunked else b"{}"))
        await wire.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

        answer = await wire.rest()

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert f'"code":"{code}"'.encode() in answer
    assert repr(named).encode() in answer
    if status == 415:
        assert b"accept-encoding: identity" in answer.lower()


@pytest.mark.parametrize("header", ["Content-Encoding: identity", "Content-Encoding:", "X: y"])
async def test_a_body_without_content_coding_is_accepted(gateway: Gateway, header: str) -> None:
    body = HEAD + picture() + END
    async with connected(gateway) as wire:
        await wire.send(request(gateway, len(body), header) + body)

        assert (await wire.answer()).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=UTF-8", 200),
        ("application/merge-patch+json", 200),
        ("application/json; charset=utf-16", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
async def test_a_body_of_another_content_type_is_rejected(
    shared_gateway: Gateway, media_type: str, status: int
) -> None:
    answer = await shared_gateway.client.post(
        "/api/ops/queues/metadata/cancel",
        content=b'{"reason":"x"}',
        headers=shared_gateway.bearer("operator") | {"Content-Type": media_type},
    )

    assert answer.status_code == status, answer.text


BLANKS = ("{} ", "{}\t", "  {} \t ")


@pytest.mark.parametrize("blanks", BLANKS)
async def test_whitespace_around_a_header_value_is_ignored(gateway: Gateway, blanks: str) -> None:
    """RFC 9110, section 5.5, for every header, including those that uvicorn reads."""
    lines = [
        "GET /api/events?room=client HTTP/1.1",
        f"Host:{blanks.format(gateway.host)}",
        f"Authorization:{blanks.format('Bearer ' + gateway.tokens['alice'])}",
        f"Last-Event-ID:{blanks.format('0:0-0')}",
        "Connection: close",
    ]
    asked = "\r\n".join(lines).encode() + b"\r\n\r\n"
    body = HEAD + picture() + END
    upload = request(gateway, len(body), f"Expect:{blanks.format('100-continue')}")
    async with connected(gateway) as wire:
        await wire.send(asked)
        answer = await wire.answer()
    async with connected(gateway) as wire:
        await wire.send(upload)
        assert (await wire.answer()).startswith(b"HTTP/1.1 100 ")
        await wire.send(body)
        assert (await wire.answer()).startswith(b"HTTP/1.1 201 ")

    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 503 "))


@pytest.mark.parametrize("blanks", BLANKS)
async def test_whitespace_around_header_values_of_a_handshake_is_ignored(
    gateway: Gateway, blanks: str
) -> None:
    lines = [
        "GET /ws HTTP/1.1",
        f"Host:{blanks.format(gateway.host)}",
        f"Authorization:{blanks.format('Bearer ' + gateway.tokens['alice'])}",
        f"Connection:{blanks.format('Upgrade')}",
        f"Upgrade:{blanks.format('websocket')}",
        f"Sec-WebSocket-Version:{blanks.format('13')}",
        f"Sec-WebSocket-Key:{blanks.format('dGhlIHNhbXBsZSBub25jZQ==')}",
    ]
    async with connected(gateway) as wire:
        await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n")

        assert (await wire.answer()).startswith(b"HTTP/1.1 101 ")
