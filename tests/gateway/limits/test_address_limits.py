"""Rate limits of addresses: neighbours, requests without a token, and failed sign-ins."""

import time
from collections.abc import AsyncGenerator, Mapping

import pytest

from gateway.http.limits import Limits
from gateway.http.rate_limits import PAGE_FILES, RateLimits
from tests.gateway.conftest import Gateway, served
from tests.gateway.limits.test_throttling import FEW, clients, hourly, me, refused


@pytest.fixture
def projecting() -> bool:
    return False


@pytest.fixture
def limits() -> Limits:
    """Trust a proxy on this machine, so that tests can use any number of addresses."""
    return Limits(trusted_proxies="127.0.0.1", linger_s=0.2)


@pytest.fixture
async def other(gateway: Gateway) -> AsyncGenerator[Gateway]:
    """Start a second gateway on the same log."""
    async with served(gateway.deps) as running:
        yield running


def of(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


class TestAddresses:
    @pytest.fixture
    def rates(self) -> RateLimits:
        return RateLimits(
            rate_requests=clients(FEW),
            rate_requests_per_address=hourly(2 * FEW),
            rate_anonymous_per_address=hourly(FEW),
            rate_page_files_per_address=hourly(PAGE_FILES),
            rate_sign_in_failures=hourly(3),
        )

    async def test_clients_of_one_address_share_a_limit(self, gateway: Gateway) -> None:
        issue, now = gateway.deps.tokens.issue, time.time()
        tokens = [issue(f"client-{number}", "client", 60, now) for number in range(11)]

        answers = [await me(gateway, Authorization=f"Bearer {token}") for token in tokens]
        elsewhere = await me(gateway, Authorization=f"Bearer {tokens[-1]}", **of("192.0.2.9"))

        assert [each.status_code for each in answers] == [200] * 10 + [429]
        refused(answers[-1], "requests-per-address")
        assert elsewhere.status_code == 200

    async def test_a_limited_client_does_not_use_up_its_address(self, gateway: Gateway) -> None:
        for _ in range(4 * FEW):
            await me(gateway)

        assert [(await me(gateway, **gateway.bearer("bob"))).status_code for _ in range(FEW)] == [
            200
        ] * FEW

    @pytest.mark.parametrize("path", ["/pages/app.js", "/", "/nothing", "/api/login"])
    async def test_a_limited_client_does_not_keep_its_neighbours_from_the_page(
        self, gateway: Gateway, path: str
    ) -> None:
        for _ in range(4 * FEW):
            answer = await gateway.client.get(path)

            assert answer.status_code in (200, 404, 429)

        assert (await me(gateway, **gateway.bearer("bob"))).status_code == 200

    async def test_an_ipv6_host_is_one_address(self, gateway: Gateway) -> None:
        addresses = [f"2001:db8:1:2::{number}" for number in range(FEW + 1)]

        answers = [await me(gateway, **anonymous(of(address))) for address in addresses]

        assert [each.status_code for each in answers] == [401] * FEW + [429]
        other = await me(gateway, **anonymous(of("2001:db8:1:3::1")))
        assert other.status_code == 401

    @pytest.mark.parametrize("path", ["/api/photos", "/nothing", "/schema/openapi.json"])
    async def test_requests_without_a_token_are_limited_at_every_address(
        self, gateway: Gateway, path: str
    ) -> None:
        del gateway.client.headers["Authorization"]

        answers = [await gateway.client.get(path) for _ in range(FEW + 1)]

        assert {each.status_code for each in answers[:-1]} <= {200, 401, 404}
        refused(answers[-1], "anonymous")
        elsewhere = await gateway.client.get(path, headers=of("192.0.2.9"))
        assert elsewhere.status_code == answers[0].status_code

    async def test_files_of_the_pages_have_a_limit_of_their_own(self, gateway: Gateway) -> None:
        for _ in range(2 * FEW):  # neither limit of requests has anything left
            await me(gateway)
            await me(gateway, **anonymous())

        answers = [await gateway.client.get("/pages/app.js") for _ in range(PAGE_FILES)]
        one_more = await gateway.client.get("/", headers=anonymous())

        assert {each.status_code for each in answers} == {200}
        refused(one_more, "page-files")
        assert (await gateway.client.get("/", headers=of("192.0.2.9"))).status_code == 200

    async def test_requests_with_an_unsupported_method_are_limited(self, gateway: Gateway) -> None:
        answers = [await gateway.client.patch("/api/photos") for _ in range(FEW + 1)]

        assert [each.status_code for each in answers] == [405] * FEW + [429]

    @pytest.mark.parametrize(("method", "path"), [("GET", "/api/photos"), ("POST", "/api/login")])
    async def test_a_few_invalid_tokens_reach_the_limit(
        self, gateway: Gateway, other: Gateway, method: str, path: str
    ) -> None:
        bad = {"Authorization": "Bearer guess"}
        each = (gateway, other, gateway, other)

        answers = [await one.client.request(method, path, headers=bad) for one in each]

        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        refused(answers[-1], "sign-in-failures")

    async def test_a_few_guessed_tickets_reach_the_limit(self, gateway: Gateway) -> None:
        del gateway.client.headers["Authorization"]
        origin = {"Origin": gateway.base_url}

        answers = [
            await gateway.client.post(
                "/api/login", json={"ticket": f"0-{number:032}"}, headers=origin
            )
            for number in range(4)
        ]

        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]

    async def test_a_hostile_neighbour_does_not_affect_clients_with_a_token(
        self, gateway: Gateway
    ) -> None:
        bad = {"Authorization": "Bearer guess"}
        for _ in range(2 * FEW):
            await gateway.client.get("/api/photos", headers=bad)
            await gateway.client.post("/api/login", headers=bad)
            await gateway.client.get("/", headers=anonymous())
            await gateway.client.get("/nothing", headers=bad)

        signed_in = await gateway.client.post("/api/login")
        del gateway.client.headers["Authorization"]  # from here on, the cookie authenticates

        assert signed_in.status_code == 200
        for path in ("/api/login", "/", "/pages/app.js", "/api/me"):
            assert (await gateway.client.get(path)).status_code == 200, path

    async def test_an_expired_token_is_not_a_failed_sign_in(self, gateway: Gateway) -> None:
        expired = gateway.deps.tokens.issue("alice", "client", 1, 1e9)

        codes = [
            (await me(gateway, Authorization=f"Bearer {expired}")).json()["code"]
            for _ in range(FEW + 1)
        ]

        assert codes == ["expired-token"] * FEW + ["rate-limited"]
        assert (await me(gateway)).status_code == 200


def anonymous(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return headers without a token, which replace those of alice."""
    return {"Authorization": "", **(more or {})}
