"""Rate limits of clients, across two gateways, charged before the work."""

import re
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidStatus

from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from gateway.http.rate_limits import Allowance, ByRole, RateLimits
from store.log.log import Log
from store.redis.connection import connect
from tests.gateway.conftest import Gateway, picture, served
from tests.gateway.listeners import talking
from tests.gateway.routes.test_metrics import samples
from tests.gateway.wire import connected, request
from tests.servers import process_of, url_in, valkey

FEW = 5
HOUR_S = 3_600

_ITEM = re.compile(r'"([a-z-]+)"((?:;[a-z]+=[^;,]+)+)')


def hourly(tokens: int) -> Allowance:
    """Return an allowance so slow that it does not refill during a test."""
    return Allowance(tokens, HOUR_S)


def clients(tokens: int) -> ByRole:
    return ByRole(hourly(tokens), hourly(2 * tokens), None)


def parsed(field: str) -> dict[str, dict[str, str]]:
    """Return the items of a structured field, each with its parameters."""
    assert re.fullmatch(f"{_ITEM.pattern}(, {_ITEM.pattern})*", field), field
    return {
        name: dict(part.split("=") for part in parameters[1:].split(";"))
        for name, parameters in _ITEM.findall(field)
    }


def refused(answer: httpx.Response, policy: str) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (429, "rate-limited"), answer.text
    assert f"The limit {policy} of this" in problem["detail"]
    assert int(answer.headers["Retry-After"]) >= 1
    assert parsed(answer.headers["RateLimit"])[policy]["r"] == "0"
    assert policy in parsed(answer.headers["RateLimit-Policy"])


@pytest.fixture
def projecting() -> bool:
    return False


@pytest.fixture
def limits() -> Limits:
    return Limits(linger_s=0.2)


@pytest.fixture
def rates() -> RateLimits:
    return RateLimits(rate_requests=clients(FEW))


@pytest.fixture
async def other(gateway: Gateway) -> AsyncGenerator[Gateway]:
    """Start a second gateway on the same log."""
    async with served(gateway.deps) as running:
        yield running


async def me(gateway: Gateway, **headers: str) -> httpx.Response:
    return await gateway.client.get("/api/login", headers=headers)


class TestRequests:
    async def test_two_gateways_share_one_limit(self, gateway: Gateway, other: Gateway) -> None:
        answers = [await me(each) for _ in range(FEW) for each in (gateway, other)]

        assert [each.status_code for each in answers] == [200] * FEW + [429] * FEW
        refused(answers[-1], "requests")

    async def test_limits_work_with_the_redis_of_debian(
        self, deps: Dependencies, debian_redis_url: str, prefix: str
    ) -> None:
        client = connect(debian_redis_url)
        log = await Log.open(client, prefix=prefix)
        deps = msgspec.structs.replace(deps, log=log)
        async with served(deps) as one, served(deps) as two:
            codes = [(await me(each)).status_code for _ in range(FEW) for each in (one, two)]
        await client.aclose()

        assert codes == [200] * FEW + [429] * FEW

    async def test_every_answer_reports_the_remaining_quota(self, gateway: Gateway) -> None:
        first, second = await me(gateway), await gateway.client.get("/api/photos/unknown?x=1")

        assert (first.status_code, second.status_code) == (200, 400)
        for answer, left in ((first, FEW - 1), (second, FEW - 2)):
            assert parsed(answer.headers["RateLimit"])["requests"]["r"] == str(left)
            policy = parsed(answer.headers["RateLimit-Policy"])["requests"]
            assert policy == {"q": str(FEW), "w": str(HOUR_S)}
        assert 0 < int(parsed(first.headers["RateLimit"])["requests"]["t"]) <= HOUR_S / FEW

    async def test_a_limited_client_does_not_affect_another(self, gateway: Gateway) -> None:
        answers = [await me(gateway) for _ in range(FEW + 1)]

        refused(answers[-1], "requests")
        assert (await me(gateway, **gateway.bearer("bob"))).status_code == 200

    async def test_each_role_has_limits_of_its_own(self, gateway: Gateway) -> None:
        operator, auditor = gateway.bearer("operator"), gateway.bearer("auditor")

        steering = [(await me(gateway, **operator)).status_code for _ in range(2 * FEW + 1)]
        reading = [(await me(gateway, **auditor)).status_code for _ in range(4 * FEW)]

        assert steering == [200] * 2 * FEW + [429]
        assert reading == [200] * 4 * FEW
        assert "RateLimit" not in (await me(gateway, **auditor)).headers

    async def test_health_and_metrics_are_never_limited(self, gateway: Gateway) -> None:
        for path in ("/health", "/health/live", "/health/ready", "/metrics"):
            for _ in range(FEW + 1):
                answer = await gateway.client.get(path)

                assert answer.status_code in (200, 503)
                assert "RateLimit" not in answer.headers
                assert "rate-limited" not in answer.text

    async def test_rejected_requests_are_counted_by_limit(self, gateway: Gateway) -> None:
        for _ in range(FEW + 3):
            await me(gateway)

        found = await samples(gateway)

        assert found["photolog_rate_limited_total policy=requests"] == 3

    async def test_a_limited_client_can_load_the_page(self, gateway: Gateway) -> None:
        for _ in range(FEW + 1):
            await me(gateway)

        for path in ("/", "/pages/app.js"):
            assert (await gateway.client.get(path)).status_code == 200


class TestUploads:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(max_upload_bytes=10_000, linger_s=0.2)

    @pytest.fixture
    def rates(self) -> RateLimits:
        return RateLimits(rate_uploads=clients(FEW), rate_upload_bytes=clients(20_000))

    async def test_uploads_are_limited_across_both_gateways(
        self, gateway: Gateway, other: Gateway
    ) -> None:
        answers = [await each.upload() for _ in range(3) for each in (gateway, other)]

        assert [each.status_code for each in answers] == [201] * FEW + [429]
        refused(answers[-1], "uploads")
        assert parsed(answers[0].headers["RateLimit"]).keys() == {
            *("requests", "uploads", "upload-bytes")
        }
        assert (await me(gateway)).status_code == 200

    async def test_bytes_are_charged_before_they_arrive(self, gateway: Gateway) -> None:
        async with connected(gateway) as wire:
            for _ in range(2):
                await gateway.client.post(
                    "/api/photos/upload", content=bytes(9_000), headers={"Content-Type": "image/x"}
                )
            await wire.send(request(gateway, 9_000))

            answer = await wire.rest()

        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"upload-bytes of this client" in answer
        assert b'"upload-bytes";q=20000;w=3600;qu="content-bytes"' in answer
        assert gateway.stored() == []

    async def test_bytes_of_unknown_length_are_charged_as_they_arrive(
        self, gateway: Gateway
    ) -> None:
        codes: list[int] = []
        for _ in range(3):
            async with connected(gateway) as wire:
                head = request(gateway, 0, "Transfer-Encoding: chunked")
                await wire.send(head.replace(b"Content-Length: 0\r\n", b""))
                part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
                for chunk in (part + b"\xff\xd8\xff\xe0", *[bytes(1_000)] * 8):
                    await wire.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                if len(codes) < 2:
                    await wire.send(b"7\r\n\r\n--x--\r\n0\r\n\r\n")
                codes.append(int((await wire.answer()).split()[1]))

        assert codes == [201, 200, 429]

    async def test_a_body_that_is_too_large_is_rejected_as_such(self, gateway: Gateway) -> None:
        answer = await gateway.upload(picture() + bytes(100_000))

        assert answer.json()["code"] == "upload-too-large"


class TestCommands:
    @pytest.fixture
    def projecting(self) -> bool:
        return True

    @pytest.fixture
    def rates(self) -> RateLimits:
        return RateLimits(
            rate_commands=clients(2), rate_streams=clients(2), rate_sign_in_failures=hourly(2)
        )

    async def test_commands_are_limited(self, gateway: Gateway) -> None:
        answers = [await gateway.client.delete("/api/photos/unknown") for _ in range(3)]

        assert [each.status_code for each in answers] == [404, 404, 429]
        refused(answers[-1], "commands")
        reprocessed = await gateway.client.post("/api/photos/unknown/reprocess")
        refused(reprocessed, "commands")
        assert (await gateway.upload()).status_code == 201

    async def test_event_streams_and_websockets_share_a_limit(
        self, gateway: Gateway, other: Gateway
    ) -> None:
        async with gateway.client.stream("GET", "/api/events?room=client") as stream:
            assert stream.status_code == 200
            assert parsed(stream.headers["RateLimit"])["streams"]["r"] == "1"
        async with talking(other) as talk:
            assert (await talk.ask("ping"))["type"] == "pong"

        refused(await gateway.client.get("/api/events?room=client"), "streams")
        answer = await handshaken(gateway, gateway.tokens["alice"])
        problem = msgspec.json.decode(answer.body)
        assert (answer.status_code, problem["code"]) == (429, "rate-limited")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) >= 1
        assert parsed(answer.headers["RateLimit"])["streams"]["r"] == "0"
        assert answer.headers["X-Trace-Id"] == problem["traceId"]

    async def test_a_socket_with_an_invalid_token_is_a_failed_sign_in(
        self, gateway: Gateway
    ) -> None:
        for _ in range(2):
            async with connect_socket(
                f"ws://{gateway.host}:{gateway.port}/ws",
                additional_headers={"Authorization": "Bearer guess"},
                proxy=None,
            ) as socket:
                await socket.wait_closed()
                assert socket.close_code == 4401

        assert (await handshaken(gateway, "guess")).status_code == 429
        async with talking(gateway) as talk:
            assert (await talk.ask("ping"))["type"] == "pong"


async def handshaken(gateway: Gateway, token: str) -> Any:
    """Return the answer to a failed handshake."""
    with pytest.raises(InvalidStatus) as refusal:
        await connect_socket(
            f"ws://{gateway.host}:{gateway.port}/ws",
            additional_headers={"Authorization": f"Bearer {token}"},
            proxy=None,
        )
    return refusal.value.response


class TestMessages:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(errors_per_socket=2)

    @pytest.fixture
    def rates(self) -> RateLimits:
        return RateLimits(rate_messages=hourly(FEW))

    async def test_a_websocket_that_sends_too_many_messages_gets_errors_and_is_closed(
        self, gateway: Gateway
    ) -> None:
        async with talking(gateway) as talk:
            answers = [await talk.ask("ping") for _ in range(FEW + 2)]

            assert [each["type"] for each in answers] == ["pong"] * FEW + ["error"] * 2
            assert answers[-1]["code"] == "rate-limited"
            await talk.say("ping")
            assert await talk.closed() == (1008, "too-many-errors")


class TestWithoutRedis:
    @pytest.fixture
    async def log(self, own_folder: Path, prefix: str) -> AsyncGenerator[Log]:
        with ExitStack() as server:
            server.enter_context(valkey(own_folder))
            client = connect(url_in(own_folder))
            yield await Log.open(client, prefix=prefix)
            await client.aclose()

    async def test_the_limits_continue_and_no_request_fails(
        self, gateway: Gateway, own_folder: Path
    ) -> None:
        assert (await me(gateway)).status_code == 200
        process_of(own_folder).kill()
        process_of(own_folder).wait()

        mine = [(await me(gateway)).status_code for _ in range(FEW)]
        theirs = await me(gateway, **gateway.bearer("bob"))

        assert mine == [200] * (FEW - 1) + [429]
        assert theirs.status_code == 200


async def test_without_limits_no_answer_reports_any(deps: Dependencies, rates: RateLimits) -> None:
    nobody = ByRole(None, None, None)
    none: dict[str, Any] = {
        name: nobody if isinstance(getattr(rates, name), ByRole) else None
        for name in RateLimits.__struct_fields__
    }
    async with served(msgspec.structs.replace(deps, rates=RateLimits(**none))) as gateway:
        answers = [await me(gateway) for _ in range(FEW + 1)]
        async with talking(gateway) as talk:
            assert (await talk.ask("ping"))["type"] == "pong"
        lost = await gateway.client.get("/nothing")

    assert [each.status_code for each in answers] == [200] * (FEW + 1)
    assert lost.status_code == 404
    assert "RateLimit" not in answers[0].headers
