"""HEAD works wherever GET does, and OPTIONS everywhere (RFC 9110, section 9)."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from litestar.routes import HTTPRoute

from gateway.app import create_app
from gateway.dependencies import Dependencies
from tests.gateway.conftest import Gateway
from tests.gateway.wire import connected

CHANGING = {"date", "x-trace-id", "etag", "content-length", "ratelimit"}
"""Headers that differ between answers: some bodies contain the time."""


def addresses(deps: Dependencies) -> dict[str, set[str]]:
    """Return the methods of each address, from its routes."""
    return {
        route.path: {str(method) for method in route.methods}
        for route in create_app(deps).routes
        if isinstance(route, HTTPRoute)
    }


def filled(path: str, photo: Mapping[str, Any]) -> str:
    for name, value in {
        "{photo_id:str}": photo["photoId"],
        "{job_id:str}": photo["jobId"],
        "{size:int}": "150",
        "{stage:str}": "metadata",
        "/{session_id:path}": "/trip",
        "{name:str}": "app.js",
    }.items():
        path = path.replace(name, value)
    return re.sub(r"{[^}]+}", "x", path)


async def ask(gateway: Gateway, method: str, path: str) -> bytes:
    """Return the raw answer: a client library would hide a body that must not be there."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {gateway.host}",
        f"Authorization: Bearer {gateway.tokens['operator']}",
        "Connection: close",
    ]
    async with connected(gateway) as wire:
        await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        return await wire.rest()


def parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


async def test_head_is_get_without_the_body_at_every_address(gateway: Gateway) -> None:
    photo = (await gateway.upload(sessionId="trip")).json()
    await gateway.get("/api/photos", after=photo["position"])
    for path, methods in addresses(gateway.deps).items():
        if "GET" not in methods or path == "/api/events":
            continue
        address = filled(path, photo)

        status, said, body = parsed(await ask(gateway, "HEAD", address))

        expected, get, _ = parsed(await ask(gateway, "GET", address))
        assert (status, body) == (expected, b""), path
        assert said.keys() == get.keys() - {"transfer-encoding"}, path
        for name in said.keys() - CHANGING:
            assert said[name] == get[name], (path, name)
        if path.startswith("/api/photos") and status == 200:
            assert said["content-length"] == get["content-length"], path


async def test_head_opens_no_stream(gateway: Gateway) -> None:
    status, said, body = parsed(await ask(gateway, "HEAD", "/api/events?room=client"))

    assert (status, body) == (200, b"")
    assert said["content-type"].startswith("text/event-stream")


async def test_head_without_get_is_rejected(gateway: Gateway) -> None:
    status, said, body = parsed(await ask(gateway, "HEAD", "/api/photos/upload"))

    assert (status, body) == (405, b"")
    assert said["allow"] == "options, post"


async def test_options_lists_all_methods_of_every_address(gateway: Gateway) -> None:
    del gateway.client.headers["Authorization"]
    for path, methods in addresses(gateway.deps).items():
        every = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set[str]())
        address = filled(path, {"photoId": "1", "jobId": "1"})

        answer = await gateway.client.options(address)
        wrong = await gateway.client.request("TRACE", address)

        assert (answer.status_code, answer.content) == (204, b""), path
        assert answer.headers["Allow"] == ", ".join(sorted(every)), path
        assert wrong.status_code == 405, path
        assert wrong.headers["Allow"] == ", ".join(sorted(every)), path


async def test_a_websocket_address_requires_an_upgrade(gateway: Gateway) -> None:
    answer = await gateway.client.get("/ws")

    assert (answer.status_code, answer.json()["code"]) == (426, "upgrade-required")
    assert answer.headers["Upgrade"] == "websocket"
    assert (await gateway.client.options("/ws")).headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("target", ["*", "/nowhere"])
async def test_options_of_the_server_and_of_a_missing_address(
    gateway: Gateway, target: str
) -> None:
    status, _, _ = parsed(await ask(gateway, "OPTIONS", target))

    assert status == (204 if target == "*" else 404)
