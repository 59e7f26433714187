"""A page of another origin uses the gateway from a browser, if the setting names its origin."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from playwright.async_api import Browser, Page
from playwright.async_api import Error as PageError

from gateway.http.limits import Limits
from tests.gateway.conftest import HOST, Gateway, picture

USE = """
async ([url, token, bytes]) => {
  const headers = { Authorization: `Bearer ${token}` };
  const form = new FormData();
  form.append("file", new Blob([new Uint8Array(bytes)]), "a.png");
  const upload = await fetch(`${url}/api/photos/upload`, {
    method: "POST", body: form, headers: { ...headers, "Idempotency-Key": "one" },
  });
  const position = upload.headers.get("X-Log-Position");
  const { photoId } = await upload.json();
  const photo = await fetch(`${url}/api/photos/${photoId}?after=${position}`, { headers });
  const ticket = async () => {
    const answer = await fetch(`${url}/api/events/tickets`, { method: "POST", headers });
    return (await answer.json()).ticket;
  };
  const source = new EventSource(
    `${url}/api/events?room=client&ticket=${await ticket()}`, { withCredentials: true },
  );
  const ready = await new Promise((resolve, reject) => {
    source.addEventListener("ready", (event) => resolve(JSON.parse(event.data)));
    source.addEventListener("error", () => reject(new Error("the stream was refused")));
  });
  source.close();
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws?ticket=${await ticket()}`);
  const identified = await new Promise((resolve, reject) => {
    socket.addEventListener("open", () => socket.send('{"type":"identify"}'));
    socket.addEventListener("message", (event) => resolve(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => reject(new Error(event.reason)));
  });
  socket.close();
  return {
    uploaded: upload.status, position, etag: photo.headers.get("ETag"),
    ready: typeof ready.position, client: identified.clientId,
  };
}
"""

READ = """
async ([url, token]) => {
  const headers = { Authorization: `Bearer ${token}` };
  return (await fetch(`${url}/api/photos`, { headers })).status;
}
"""


@pytest.fixture
async def port() -> AsyncGenerator[int]:
    """The port of a server with an empty page."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n"
        writer.write(head + b"Connection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def limits(port: int) -> Limits:
    return Limits(append_patience_s=1.0, linger_s=2.0, cors_origins=f"http://{HOST}:{port}")


@pytest.fixture
async def page(browser: Browser) -> AsyncGenerator[Page]:
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


async def test_a_page_of_a_named_origin_uploads_reads_and_follows(
    gateway: Gateway, page: Page, port: int
) -> None:
    await page.goto(f"http://{HOST}:{port}/")

    used: Any = await page.evaluate(
        USE, [gateway.base_url, gateway.tokens["alice"], list(picture())]
    )

    assert (used["uploaded"], used["ready"], used["client"]) == (201, "string", "alice")
    assert used["position"]
    assert used["etag"]


async def test_a_page_of_any_other_origin_reads_nothing(
    gateway: Gateway, page: Page, port: int
) -> None:
    await page.goto(f"http://localhost:{port}/")

    with pytest.raises(PageError, match="Failed to fetch"):
        await page.evaluate(READ, [gateway.base_url, gateway.tokens["alice"]])
