"""People sign in at a real OpenID provider."""

import logging
from collections.abc import Generator

import anyio
import httpx
import msgspec
import pytest

from gateway.access.cookies import COOKIE, SIGN_IN_COOKIE
from gateway.access.oidc.config import BEGIN, Oidc
from gateway.dependencies import Dependencies
from tests.gateway.conftest import DEADLINE_S, POLL_S, Gateway
from tests.gateway.openid.provider import CLIENT_ID, CLIENT_SECRET, OpenIdProvider, authorize

PUBLIC_URL = "http://photos.example.com"
HTML, JSON = {"Accept": "text/html,*/*"}, {"Accept": "application/json"}
PROXY = {"X-Forwarded-Proto": "https"}
SECURITY = "photolog.security"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Generator[OpenIdProvider]:
    with OpenIdProvider(tmp_path_factory.mktemp("provider"), PUBLIC_URL) as running:
        yield running


@pytest.fixture
def oidc(provider: OpenIdProvider) -> Oidc:
    return Oidc(
        issuer=provider.issuer,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        public_url=PUBLIC_URL,
        name="Example Login",
        client_claim="preferred_username",
        role_claim="groups",
        operators="photo-operators",
        keys_pause_s=0.0,
    )


@pytest.fixture
def deps(deps: Dependencies, oidc: Oidc | None) -> Dependencies:
    limits = msgspec.structs.replace(deps.limits, trusted_proxies="127.0.0.1")
    return msgspec.structs.replace(deps, oidc=oidc, limits=limits)


@pytest.fixture
def projecting() -> bool:
    return True


async def browse(gateway: Gateway, path: str, **headers: str) -> httpx.Response:
    """Visit an address as a browser without a token does; it keeps cookies."""
    gateway.client.headers.pop("Authorization", None)
    return await gateway.client.get(path, headers=HTML | headers)


async def come_back(gateway: Gateway, subject: str, path: str = BEGIN) -> httpx.Response:
    """Sign in as ``subject``; return the answer to the callback."""
    begun = await browse(gateway, path)
    assert begun.status_code == 303, begun.text
    callback = await authorize(begun.headers["Location"], subject)
    assert callback.startswith(f"{PUBLIC_URL}{BEGIN}/callback?")
    return await browse(gateway, callback.removeprefix(PUBLIC_URL))


async def test_a_person_signs_in_and_uses_the_session(
    gateway: Gateway, provider: OpenIdProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, SECURITY)
    provider.knows("1", name="Ann Lee", preferred_username="ann")

    offered = (await browse(gateway, "/api/login/current")).json()
    answer = await come_back(gateway, "1", f"{BEGIN}?returnTo=/console")
    login = (await browse(gateway, "/api/login")).json()
    photos = await browse(gateway, "/api/photos")

    assert offered["provider"] == {"name": "Example Login", "url": PUBLIC_URL + BEGIN}
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console")
    cookie = answer.headers["Set-Cookie"].lower()
    assert cookie.startswith(COOKIE)
    assert all(each in cookie for each in ("httponly", "samesite=strict", "path=/"))
    assert (login["clientId"], login["role"], login["name"]) == ("ann", "client", "Ann Lee")
    assert login["provider"] == provider.issuer
    assert 43_000 < login["expiresInS"] <= 43_200
    assert (photos.status_code, photos.json()["items"]) == (200, [])
    [line] = [each for each in caplog.records if each.getMessage() == "signed-in"]
    assert getattr(line, "fields")["client"] == "ann"  # noqa: B009 # of extra


async def test_an_operator_is_named_in_events(gateway: Gateway, provider: OpenIdProvider) -> None:
    provider.knows("2", name="Op Lee", preferred_username="op", groups=["photo-operators", "x"])
    await come_back(gateway, "2")

    paused = await gateway.client.post(
        "/api/ops/queues/thumbnails/pause",
        json={"reason": "a look"},
        headers={"Origin": gateway.base_url},
    )
    position = paused.headers["X-Log-Position"]
    audit = (await browse(gateway, f"/api/audit?after={position}")).json()

    assert paused.status_code == 200, paused.text
    assert audit["items"][0]["actor"] == "operator:Op Lee"


async def test_signing_out_ends_the_session_and_leads_to_the_provider(
    gateway: Gateway, provider: OpenIdProvider
) -> None:
    provider.knows("1", preferred_username="ann")
    await come_back(gateway, "1")

    ended = await gateway.client.delete("/api/login", headers={"Origin": gateway.base_url})
    current = (await browse(gateway, "/api/login/current")).json()["current"]
    leaving = await browse(gateway, f"{BEGIN}/sign-out")

    assert (ended.status_code, current) == (204, None)
    assert leaving.status_code == 303
    location = httpx.URL(leaving.headers["Location"])
    assert str(location).startswith(f"{provider.issuer}/session/end?")
    assert dict(location.params) == {
        "client_id": CLIENT_ID,
        "post_logout_redirect_uri": f"{PUBLIC_URL}/",
    }
    async with httpx.AsyncClient(trust_env=False) as browser:
        assert (await browser.get(location)).status_code == 200


async def test_a_session_of_the_provider_can_be_revoked(
    gateway: Gateway, provider: OpenIdProvider
) -> None:
    provider.knows("1", preferred_username="ann")
    await come_back(gateway, "1")
    token_id = (await browse(gateway, "/api/login")).json()["tokenId"]

    revoked = await gateway.client.post(
        "/api/ops/tokens/revoke", json={"tokenId": token_id}, headers=gateway.bearer("operator")
    )
    assert revoked.status_code == 200, revoked.text
    with anyio.fail_after(DEADLINE_S):
        while (answer := await browse(gateway, "/api/login", **JSON)).status_code == 200:
            await anyio.sleep(POLL_S)

    assert answer.json()["code"] == "revoked-token"


async def test_the_keys_of_the_provider_may_change(
    gateway: Gateway, provider: OpenIdProvider
) -> None:
    provider.knows("1", preferred_username="ann")
    await come_back(gateway, "1")
    provider.rotate()

    assert (await come_back(gateway, "1")).status_code == 303


async def test_an_answer_to_another_browser_signs_nobody_in(
    gateway: Gateway, provider: OpenIdProvider
) -> None:
    provider.knows("1", preferred_username="ann")
    begun = await browse(gateway, BEGIN)
    callback = (await authorize(begun.headers["Location"], "1")).removeprefix(PUBLIC_URL)
    gateway.client.cookies.clear()

    answer = await browse(gateway, callback)
    document = await browse(gateway, callback, **JSON)

    assert (answer.status_code, document.json()["code"]) == (401, "sign-in-expired")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert 'data-code="sign-in-expired"' in answer.text
    assert COOKIE not in answer.headers.get("Set-Cookie", "")


async def test_the_cookies_of_a_sign_in_over_tls_are_of_this_host_alone(gateway: Gateway) -> None:
    begun = await browse(gateway, BEGIN, **PROXY)

    cookie = begun.headers["Set-Cookie"].lower()
    assert cookie.startswith(f"__host-{SIGN_IN_COOKIE}=")
    assert all(each in cookie for each in ("httponly", "samesite=lax", "secure", "max-age=600"))


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{BEGIN}?returnTo=//evil.example", "invalid-request"),
        (f"{BEGIN}?next=/", "invalid-request"),
        (f"{BEGIN}/callback", "sign-in-expired"),
        (f"{BEGIN}/callback?state=a&state=b", "invalid-request"),
        (f"{BEGIN}/callback?state={'x' * 4_001}", "invalid-request"),
        (f"{BEGIN}/callback?state=a&code=b&session_state=c&scope=openid", "sign-in-expired"),
    ],
)
async def test_a_wrong_address_is_a_problem(gateway: Gateway, path: str, code: str) -> None:
    answer = await browse(gateway, path, **JSON)

    assert answer.json()["code"] == code
    assert "Set-Cookie" not in answer.headers


async def test_a_form_is_no_answer_of_the_provider(gateway: Gateway) -> None:
    answer = await gateway.client.post(f"{BEGIN}/callback", data={"state": "a", "code": "b"})

    assert answer.status_code == 405


class TestDown:
    @pytest.fixture
    def oidc(self) -> Oidc:
        return Oidc(issuer="http://127.0.0.1:1", client_id="x", public_url=PUBLIC_URL)

    async def test_a_page_says_that_the_provider_is_down(self, gateway: Gateway) -> None:
        answer = await browse(gateway, BEGIN)

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert 'data-code="provider-unavailable"' in answer.text
        assert answer.headers["Content-Security-Policy"]


class TestNone:
    @pytest.fixture
    def oidc(self) -> None:
        return None

    async def test_without_a_provider_nothing_is_offered(self, gateway: Gateway) -> None:
        offered = await browse(gateway, "/api/login/current")
        answer = await browse(gateway, BEGIN, **JSON)

        assert offered.json() == {"current": None, "provider": None}
        assert (answer.status_code, answer.json()["code"]) == (404, "no-provider")
