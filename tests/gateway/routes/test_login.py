"""A browser signs in and out, and no other site can do it."""

import time
from typing import Any

import anyio
import httpx
import pytest

from gateway.access.cookies import COOKIE, SECURE_COOKIE
from gateway.http.auth import Role
from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway

FOREIGN = [None, "null", "https://evil.example", "http://127.0.0.1:1", "http://[broken"]
PROXY = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, trusted_proxies="127.0.0.1", sessions_per_client=2)


def own(gateway: Gateway) -> dict[str, str]:
    """Return the headers of a request by a page of the gateway."""
    return {"Origin": gateway.base_url}


async def sign_in(gateway: Gateway, name: str = "alice", **headers: str) -> httpx.Response:
    """Sign in as ``name``; the client then has the cookie and no token."""
    answer = await gateway.client.post("/api/login", headers=gateway.bearer(name) | headers)
    gateway.client.headers.pop("Authorization", None)
    return answer


async def ticket(gateway: Gateway, name: str = "alice") -> str:
    answer = await gateway.client.post("/api/login/tickets", headers=gateway.bearer(name))
    assert answer.status_code == 201, answer.text
    return answer.json()["ticket"]


async def use(gateway: Gateway, ticket: str, path: str = "", **headers: str) -> httpx.Response:
    return await gateway.client.post(
        f"/api/login{path}", json={"ticket": ticket}, headers=own(gateway) | headers
    )


class TestSession:
    async def test_the_cookie_contains_a_session_and_not_the_token(self, gateway: Gateway) -> None:
        token = gateway.tokens["alice"]
        answer = await sign_in(gateway)

        login = answer.json()
        assert answer.status_code == 200
        assert (login["clientId"], login["role"], login["scopes"]) == (
            *("alice", "client"),
            ["priority:high"],
        )
        assert 3590 <= login["expiresInS"] <= 3600
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(f"{COOKIE}=0-")
        assert token not in cookie
        for attribute in ("httponly", "samesite=strict", "path=/", "max-age=35"):
            assert attribute in cookie.lower()
        assert "secure" not in cookie.lower()  # this is plain HTTP

    async def test_behind_a_trusted_tls_proxy_it_is_secure_and_of_this_host(
        self, gateway: Gateway
    ) -> None:
        answer = await sign_in(gateway, **PROXY)

        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(f"{SECURE_COOKIE}=")
        assert "; secure" in cookie.lower()
        assert "domain" not in cookie.lower()
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        value = cookie.partition("=")[2].partition(";")[0]
        secure = {**PROXY, "Cookie": f"{SECURE_COOKIE}={value}"}
        assert (await gateway.client.get("/api/login", headers=secure)).status_code == 200
        # Over plain HTTP, anyone on the path could have set it.
        plain = await gateway.client.get("/api/login", headers={"Cookie": secure["Cookie"]})
        assert plain.json()["code"] == "missing-token"
        assert "Strict-Transport-Security" not in plain.headers

    async def test_the_session_stands_for_the_client_that_signed_in(self, gateway: Gateway) -> None:
        await sign_in(gateway, "bob")

        assert (await gateway.client.get("/api/login")).json()["clientId"] == "bob"

    async def test_signing_in_again_ends_the_previous_session(self, gateway: Gateway) -> None:
        await sign_in(gateway, "bob")
        before = {"Cookie": f"{COOKIE}={gateway.client.cookies[COOKIE]}"}
        await sign_in(gateway, "alice")

        gateway.client.cookies.clear()
        answer = await gateway.client.get("/api/login", headers=before)
        assert (answer.status_code, answer.json()["code"]) == (401, "expired-session")

    async def test_signing_out_ends_the_session_even_for_a_copied_cookie(
        self, gateway: Gateway
    ) -> None:
        await sign_in(gateway)
        copied = {"Cookie": f"{COOKIE}={gateway.client.cookies[COOKIE]}"}
        assert (await gateway.client.get("/api/login")).status_code == 200

        for origin in ({}, {"Origin": "http://elsewhere.example"}):
            refused = await gateway.client.delete("/api/login", headers=origin)
            assert (refused.status_code, refused.json()["code"]) == (403, "cross-origin")
        shown = (await gateway.client.get("/api/login/current")).json()
        assert shown["current"]["clientId"] == "alice"
        answer = await gateway.client.delete("/api/login", headers={"Origin": gateway.base_url})

        assert answer.status_code == 204
        current = await gateway.client.get("/api/login/current")
        assert (current.status_code, current.json()["current"]) == (200, None)
        assert (await gateway.client.get("/api/login")).json()["code"] == "missing-token"
        stolen = await gateway.client.get("/api/login", headers=copied)
        assert stolen.json()["code"] == "expired-session"

    async def test_one_session_too_many_ends_the_oldest(self, gateway: Gateway) -> None:
        cookies: list[str] = []
        for _ in range(3):
            gateway.client.cookies.clear()
            await sign_in(gateway)
            cookies.append(gateway.client.cookies[COOKIE])
        gateway.client.cookies.clear()

        answers = [
            await gateway.client.get("/api/login", headers={"Cookie": f"{COOKIE}={cookie}"})
            for cookie in cookies
        ]

        assert [answer.status_code for answer in answers] == [401, 200, 200]

    async def test_a_session_ends_with_its_token(self, gateway: Gateway) -> None:
        gateway.tokens["alice"] = gateway.deps.tokens.issue("alice", Role.CLIENT, 1, time.time())
        cookie = {"Cookie": (await sign_in(gateway)).headers["Set-Cookie"].partition(";")[0]}

        with anyio.fail_after(10):
            while (await gateway.client.get("/api/login", headers=cookie)).status_code == 200:
                await anyio.sleep(0.05)

    @pytest.mark.parametrize("secret", ["nonsense", "0-" + "a" * 32, "77-" + "a" * 32, "0-\u00e4"])
    async def test_a_cookie_without_a_session_signs_nobody_in(
        self, gateway: Gateway, secret: str
    ) -> None:
        del gateway.client.headers["Authorization"]

        answer = await gateway.client.get(
            "/api/login", headers=[(b"cookie", f"{COOKIE}={secret}".encode())]
        )

        assert (answer.status_code, answer.json()["code"]) == (401, "expired-session")

    async def test_an_invalid_token_starts_no_session(self, gateway: Gateway) -> None:
        answer = await gateway.client.post(
            "/api/login", headers={"Authorization": "Bearer nonsense"}
        )

        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-token")
        assert "Set-Cookie" not in answer.headers


class TestOtherSites:
    @pytest.mark.parametrize("origin", FOREIGN)
    async def test_they_cannot_use_the_cookie(self, gateway: Gateway, origin: str | None) -> None:
        photo = (await gateway.upload()).json()
        await sign_in(gateway)

        answer = await gateway.client.delete(
            f"/api/photos/{photo['photoId']}", headers={"Origin": origin} if origin else {}
        )

        assert (answer.status_code, answer.json()["code"]) == (403, "cross-origin")

    async def test_a_page_of_the_same_host_over_another_scheme_cannot_either(
        self, gateway: Gateway
    ) -> None:
        photo = (await gateway.upload()).json()
        await sign_in(gateway)
        address = f"/api/photos/{photo['photoId']}"
        secure = {"Origin": gateway.base_url.replace("http:", "https:")}

        answer = await gateway.client.delete(address, headers=secure)

        assert (answer.status_code, answer.json()["code"]) == (403, "cross-origin")
        assert "PHOTOLOG_TRUSTED_PROXIES" in answer.json()["detail"]

    async def test_behind_the_proxy_the_page_must_use_tls(self, gateway: Gateway) -> None:
        photo = (await gateway.upload()).json()
        cookie = (await sign_in(gateway, **PROXY)).headers["Set-Cookie"].partition(";")[0]
        address, headers = f"/api/photos/{photo['photoId']}", PROXY | {"Cookie": cookie}

        plain = await gateway.client.delete(address, headers=headers | own(gateway))
        ours = {"Origin": gateway.base_url.replace("http:", "https:")}
        secure = await gateway.client.delete(address, headers=headers | ours)

        assert (plain.status_code, secure.status_code) == (403, 204)

    @pytest.mark.parametrize(
        ("host", "origin", "status"),
        [
            ("photos.example", "https://photos.example", 204),
            ("photos.example:443", "https://photos.example", 204),
            ("photos.example", "https://PHOTOS.example:443", 204),
            ("photos.example", "http://photos.example", 403),
            ("photos.example", "https://photos.example:8443", 403),
            ("photos.example", "https://photos.example.evil.example", 403),
        ],
    )
    async def test_an_origin_is_compared_by_scheme_host_and_port(
        self, gateway: Gateway, host: str, origin: str, status: int
    ) -> None:
        photo = (await gateway.upload()).json()
        cookie = (await sign_in(gateway, **PROXY)).headers["Set-Cookie"].partition(";")[0]

        answer = await gateway.client.delete(
            f"/api/photos/{photo['photoId']}",
            headers=PROXY | {"Cookie": cookie, "Host": host, "Origin": origin},
        )

        assert answer.status_code == status

    async def test_this_site_can_use_the_cookie(self, gateway: Gateway) -> None:
        photo = (await gateway.upload()).json()
        await sign_in(gateway)

        answer = await gateway.client.delete(
            f"/api/photos/{photo['photoId']}", headers=own(gateway)
        )

        assert answer.status_code == 204

    @pytest.mark.parametrize("origin", FOREIGN)
    @pytest.mark.parametrize("path", ["", "/preview"])
    @pytest.mark.parametrize(
        ("kind", "refused"),
        [
            ("text/plain", (415, "not-json")),  # a form on a foreign page can send this
            ("application/json", (403, "cross-origin")),
        ],
    )
    async def test_they_cannot_sign_anyone_in_with_a_ticket(
        self,
        gateway: Gateway,
        origin: str | None,
        path: str,
        kind: str,
        refused: tuple[int, str],
    ) -> None:
        theirs = await ticket(gateway, "bob")
        del gateway.client.headers["Authorization"]
        headers = {"Content-Type": kind} | ({"Origin": origin} if origin else {})

        answer = await gateway.client.post(
            f"/api/login{path}", content=b'{"ticket":"%b"}' % theirs.encode(), headers=headers
        )

        assert (answer.status_code, answer.json()["code"]) == refused
        assert "Set-Cookie" not in answer.headers
        assert (await use(gateway, theirs)).status_code == 200

    async def test_they_cannot_sign_anyone_in_with_a_token(self, gateway: Gateway) -> None:
        headers = gateway.bearer("bob") | {"Origin": "https://evil.example"}

        answer = await gateway.client.post("/api/login", headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (403, "cross-origin")

    async def test_a_cookie_alone_signs_nobody_in(self, gateway: Gateway) -> None:
        await sign_in(gateway)

        answer = await gateway.client.post("/api/login", headers=own(gateway))

        assert (answer.status_code, answer.json()["code"]) == (401, "missing-token")


class TestTicket:
    async def test_it_signs_a_browser_in_once(self, gateway: Gateway) -> None:
        made = await ticket(gateway)
        del gateway.client.headers["Authorization"]

        first, second = await use(gateway, made), await use(gateway, made)

        assert (first.status_code, first.json()["clientId"]) == (200, "alice")
        assert (second.status_code, second.json()["code"]) == (401, "invalid-ticket")
        assert (await gateway.client.get("/api/login")).json()["clientId"] == "alice"

    async def test_one_of_two_browsers_that_use_it_concurrently_is_signed_in(
        self, gateway: Gateway
    ) -> None:
        made = await ticket(gateway)
        del gateway.client.headers["Authorization"]
        answers: list[httpx.Response] = []

        async def race() -> None:
            answers.append(await use(gateway, made))

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(race)

        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7

    async def test_a_preview_does_not_use_it_up(self, gateway: Gateway) -> None:
        made = await ticket(gateway, "bob")
        del gateway.client.headers["Authorization"]

        look = await use(gateway, made, "/preview")

        assert (look.status_code, look.json()["clientId"]) == (200, "bob")
        assert "Set-Cookie" not in look.headers
        assert (await use(gateway, made)).status_code == 200

    async def test_its_session_ends_with_the_token_that_made_it(self, gateway: Gateway) -> None:
        now = time.time()
        gateway.tokens["alice"] = gateway.deps.tokens.issue("alice", Role.CLIENT, 100, now)
        made = await ticket(gateway)

        answer = await use(gateway, made)

        assert answer.json()["expiresInS"] <= 100
        assert (
            answer.json()["tokenId"] == gateway.deps.tokens.verify(gateway.tokens["alice"]).token_id
        )

    async def test_a_session_cannot_create_a_ticket(self, gateway: Gateway) -> None:
        await sign_in(gateway)

        answer = await gateway.client.post("/api/login/tickets", headers=own(gateway))

        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"ticket": "nonsense"}, 401),
            ({"ticket": "x" * 101}, 400),
            ({"ticket": None}, 400),
            ({"tickets": "x"}, 400),
            ({}, 400),
        ],
    )
    async def test_an_invalid_ticket_is_rejected(
        self, gateway: Gateway, body: dict[str, Any], status: int
    ) -> None:
        answer = await gateway.client.post("/api/login", json=body, headers=own(gateway))

        assert answer.status_code == status


async def test_a_session_of_a_named_operator_acts_under_that_name(gateway: Gateway) -> None:
    named = gateway.deps.tokens.issue("staff", "operator", 60, time.time(), name="Zoë Müller")
    login = await gateway.client.post("/api/login", headers={"Authorization": f"Bearer {named}"})
    assert login.json()["name"] == "Zoë Müller"
    cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0], "Authorization": ""}

    paused = await gateway.client.post(
        "/api/ops/queues/metadata/pause", headers={**cookie, **own(gateway)}
    )

    assert paused.status_code == 200, paused.text
    audit = await gateway.get("/api/audit", name="operator", after=paused.headers["X-Log-Position"])
    assert audit.json()["items"][0]["actor"] == "operator:Zoë Müller"
