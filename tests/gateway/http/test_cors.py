"""Pages of the origins in ``cors_origins`` may use the gateway; for all others nothing changes."""

from typing import Any

import pytest

from gateway.http.cors import EXPOSED, Cors
from gateway.http.limits import Limits
from gateway.http.rate_limits import Allowance, RateLimits
from tests.gateway.conftest import Gateway
from tests.gateway.listeners import talking
from tests.gateway.uploads.resumable.requests import TUS, UPLOADS
from tests.gateway.wire import connected

APP = "https://app.example.com"

LIMITS = Limits(append_patience_s=1.0, linger_s=2.0, cors_origins=f"{APP}, http://localhost:5173")


@pytest.fixture(scope="module")
def module_limits() -> Limits:
    return LIMITS


@pytest.fixture
def rates() -> RateLimits:
    return RateLimits(rate_anonymous_per_address=Allowance(8, 3600))


def cors_of(headers: Any) -> dict[str, str]:
    return {name: headers[name] for name in headers if name.startswith("access-control-")}


async def preflight(gateway: Gateway, origin: str, path: str = "/api/photos/upload") -> Any:
    return await gateway.client.options(
        path,
        headers={
            "Authorization": "",
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,idempotency-key",
        },
    )


@pytest.mark.parametrize("origin", [APP, "http://localhost:5173"])
async def test_an_allowed_page_may_read_answers_with_their_headers(
    gateway: Gateway, origin: str
) -> None:
    answers = [
        await gateway.get("/api/photos", Origin=origin),
        await gateway.get("/api/photos/none", Origin=origin),
        await gateway.client.get("/nowhere", headers={"Origin": origin}),
        await gateway.client.get("/api/photos", headers={"Origin": origin, "Authorization": "x"}),
    ]

    assert [answer.status_code for answer in answers] == [200, 404, 404, 401]
    for answer in answers:
        assert cors_of(answer.headers) == {
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
            "access-control-expose-headers": ", ".join(EXPOSED),
        }
        assert "Origin" in answer.headers["Vary"]


async def test_preflights_pass_without_a_token_and_without_limits(gateway: Gateway) -> None:
    for _ in range(10):
        answer = await preflight(gateway, APP)

        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == APP
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        allowed = answer.headers["Access-Control-Allow-Headers"].lower()
        assert {"authorization", "idempotency-key"} <= set(allowed.split(", "))
        assert int(answer.headers["Access-Control-Max-Age"]) > 600
        assert "Origin" in answer.headers["Vary"]
        assert "RateLimit" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://evil-app.example.com",
        "https://sub.app.example.com",
        "https://example.com",
        "https://APP.example.com",
        "https://app.example.com/",
        "https://app.example.com@evil.example",
        f"{APP}, {APP}",
        f"{APP}%00",
        "",
    ],
)
async def test_no_other_origin_is_allowed(shared_gateway: Gateway, origin: str) -> None:
    answer = await shared_gateway.get("/api/photos", Origin=origin)
    asked = await preflight(shared_gateway, origin)

    assert cors_of(answer.headers) == cors_of(asked.headers) == {}
    assert answer.headers["Vary"].count("Origin") == 1  # a cache must not mix up the answers


async def test_two_origins_are_none(gateway: Gateway) -> None:
    answer = await gateway.client.get(
        "/health/live", headers=[("Origin", APP), ("Origin", "https://evil.example")]
    )

    assert cors_of(answer.headers) == {}


async def test_the_cookie_counts_for_an_allowed_page_and_for_no_other(gateway: Gateway) -> None:
    login = await gateway.client.post("/api/login")
    cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0], "Authorization": ""}
    path = "/api/photos/none/reprocess"

    def post(origin: str) -> Any:
        return gateway.client.post(path, headers={**cookie, "Origin": origin})

    assert (await post(APP)).json()["code"] == "photo-not-found"
    assert (await post(gateway.base_url)).json()["code"] == "photo-not-found"
    for origin in ("https://evil.example", "null", "https://sub.app.example.com"):
        assert (await post(origin)).json()["code"] == "cross-origin"
    async with talking(gateway, name=None, headers={**cookie, "Origin": APP}) as talk:
        assert (await talk.ask("identify"))["type"] == "identified"
    async with talking(gateway, name=None, headers={**cookie, "Origin": "null"}) as talk:
        assert await talk.closed() == (4403, "cross-origin")


async def test_an_allowed_page_may_follow_a_room(gateway: Gateway) -> None:
    headers = {**gateway.bearer("alice"), "Origin": APP}
    async with gateway.client.stream("GET", "/api/events?room=client", headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize(
    "listed",
    [
        "*",
        "null",
        "app.example.com",
        "https://*.example.com",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com?x",
        "https://user@app.example.com",
        "https://app.example.com:",
        "https://app.example.com:port",
        "https://app.example.com:99999",
        "https://äpp.example.com",
        "https://app.example.com https://b.example.com",
        "ftp://app.example.com",
        "https://",
        "https://a\n.example.com",
    ],
)
def test_a_malformed_origin_is_rejected(listed: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        Cors(f"https://good.example.com,{listed}")


def test_origins_are_compared_as_browsers_send_them() -> None:
    cors = Cors("HTTPS://App.Example.com:443, http://[::1]:8080,http://localhost:80,,")

    assert cors.origins == {APP, "http://[::1]:8080", "http://localhost"}


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        (b"X: " + b"x" * 70_000 + b"\r\n\r\n", "headers-too-large"),
        (b"Host: another\r\n\r\n", "malformed-request"),
        (b"Content-Length: 9\r\n\r\nshort", "body-incomplete"),
    ],
)
async def test_an_allowed_page_may_read_why_a_request_never_reaches_a_route(
    gateway: Gateway, rest: bytes, code: str
) -> None:
    head = f"POST /api/login HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\n".encode()
    async with connected(gateway) as wire:
        await wire.send(head + rest)
        wire.writer.write_eof()
        answer = await wire.rest()

    assert f'"code":"{code}"'.encode() in answer
    assert f"access-control-allow-origin: {APP}\r\n".encode() in answer
    assert answer.count(b"access-control-allow-origin") == 1


async def test_an_allowed_page_may_read_why_its_upload_is_rejected_early(gateway: Gateway) -> None:
    headers = {**TUS, "Origin": APP}

    answers = [
        await gateway.client.post(UPLOADS, headers={**headers, "Upload-Length": "1" + "0" * 12}),
        await gateway.client.post(UPLOADS, headers={**headers, "Authorization": "Bearer x"}),
        await gateway.client.get("/api/events", headers={"Origin": APP}),
        *[
            await gateway.client.get("/api/me", headers={"Origin": APP, "Authorization": ""})
            for _ in range(30)
        ],
    ]

    assert {answer.status_code for answer in answers} == {413, 401, 400, 429}
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == APP


class TestWithoutTheSetting:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(append_patience_s=1.0, linger_s=2.0)

    async def test_no_page_of_another_origin_is_allowed(self, gateway: Gateway) -> None:
        answer = await gateway.get("/api/photos", Origin=APP)

        assert cors_of(answer.headers) == cors_of((await preflight(gateway, APP)).headers) == {}
        assert "Origin" not in answer.headers.get("Vary", "")
