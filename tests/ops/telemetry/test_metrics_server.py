import asyncio
import re
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from ops.errors import UserError
from ops.telemetry import metrics_server
from ops.telemetry.metrics_server import announced, forget, metrics_served

DEADLINE_S = 10.0


@pytest.fixture
async def port(tmp_path: Path) -> AsyncGenerator[int]:
    """The port of a server whose metrics are ``up 1``."""
    async with metrics_served(lambda: b"up 1\n", tmp_path, "worker-1", "127.0.0.1", 0):
        yield int((tmp_path / "metrics" / "worker-1").read_text().split(":")[2].split("/")[0])


async def exchange(port: int, sent: bytes) -> bytes:
    """Send the bytes, and return the answer until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    with anyio.fail_after(DEADLINE_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


async def test_it_answers_prometheus_and_closes_the_connection(port: int) -> None:
    answer = await exchange(port, b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in head
    assert body == b"up 1\n"


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\n\r\n", b"POST /metrics HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"?\r\n\r\n"],
)
async def test_other_requests_get_404(port: int, sent: bytes) -> None:
    assert (await exchange(port, sent)).startswith(b"HTTP/1.1 404 ")


async def test_an_endless_head_closes_the_connection(port: int) -> None:
    assert await exchange(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000) == b""


async def test_a_silent_connection_is_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "PATIENCE_S", 0.05)

    assert await exchange(port, b"GET /met") == b""


async def test_too_many_silent_connections_are_closed_and_others_are_served_later(
    port: int,
) -> None:
    silent = [
        await asyncio.open_connection("127.0.0.1", port) for _ in range(metrics_server.AT_ONCE)
    ]
    ask = b"GET /metrics HTTP/1.1\r\n\r\n"

    turned_away = await exchange(port, ask)
    for _, writer in silent:
        writer.close()
    answer = b""
    with anyio.fail_after(DEADLINE_S):
        while not answer:
            answer = await exchange(port, ask)

    assert turned_away == b""
    assert answer.endswith(b"up 1\n")


async def test_a_port_in_use_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(UserError, match=rf"^PHOTOLOG_METRICS_HOST, .* port {port} "):
            async with metrics_served(bytes, tmp_path, "worker-1", "127.0.0.1", port):
                pass
    assert not (tmp_path / "metrics").exists()


async def test_a_wildcard_address_is_announced_as_a_reachable_one(tmp_path: Path) -> None:
    async with metrics_served(lambda: b"up 1\n", tmp_path, "worker-1", "0.0.0.0", 0):
        url = (tmp_path / "metrics" / "worker-1").read_text()

        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics\n", url)
        assert (await exchange(int(url.split(":")[2].split("/")[0]), b"GET /metrics \r\n\r\n"))[
            9:12
        ] == b"200"


async def test_an_address_of_another_machine_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^PHOTOLOG_METRICS_HOST, .* of 192\.0\.2\.1: "):
        async with metrics_served(bytes, tmp_path, "worker-1", "192.0.2.1", 0):
            pass


async def test_the_url_is_removed_with_the_server(tmp_path: Path) -> None:
    async with metrics_served(bytes, tmp_path, "worker-1", "127.0.0.1", 0):
        assert (tmp_path / "metrics" / "worker-1").exists()

    assert list((tmp_path / "metrics").iterdir()) == []


def test_an_unwritable_folder_does_not_stop_a_role(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metrics").write_text("a file in its place")

    with announced(tmp_path, "worker-1", "http://127.0.0.1:1"):
        pass

    assert "cannot write the URL of the metrics to" in caplog.text


def test_urls_of_killed_roles_are_removed(tmp_path: Path) -> None:
    forget(tmp_path)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "worker-7").write_text("http://127.0.0.1:1/metrics")
    (tmp_path / "metrics" / ".worker-8").write_text("")

    forget(tmp_path)

    assert list((tmp_path / "metrics").iterdir()) == []
