import base64
import json
import time
from typing import Any

import jwt
import pytest

from gateway.auth import AuthError, Principal, Role, Tokens
from tests.gateway.conftest import SECRET, Gateway

NOW = time.time()
CLAIMS = {
    "iss": "photolog",
    "sub": "alice",
    "role": "client",
    "iat": int(NOW),
    "exp": int(NOW) + 3_600,
}


def signed(secret: bytes = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A token with some claims changed, and those left out that are None."""
    every = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jwt.encode(  # pyright: ignore[reportUnknownMemberType] # types of the library
        every, secret, algorithm=algorithm
    )


def unsigned() -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(CLAIMS)}."


def test_a_token_says_who_and_until_when() -> None:
    token = Tokens(SECRET).issue("alice@home.example", "operator", 3_600, NOW)

    assert Tokens(SECRET).verify(token) == Principal(
        client_id="alice@home.example", role=Role.OPERATOR, expires=int(NOW + 3_600)
    )


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("", "invalid-token"),
        ("a.b.c", "invalid-token"),
        ("x" * 5000, "invalid-token"),
        (unsigned(), "invalid-token"),
        (signed(b"another secret, also long enough"), "invalid-token"),
        (signed(SECRET + b" longer for this hash" * 2, "HS512"), "invalid-token"),
        (signed(exp=int(NOW) - 60), "expired-token"),
        (signed(exp=None), "invalid-token"),
        (signed(iat=None), "invalid-token"),
        (signed(iat=int(NOW) + 86_400), "invalid-token"),
        (signed(iss="another"), "invalid-token"),
        (signed(sub=None), "invalid-token"),
        (signed(sub=""), "invalid-token"),
        (signed(sub=7), "invalid-token"),
        (signed(sub="a:b"), "invalid-token"),
        (signed(sub="alice\n"), "invalid-token"),
        (signed(sub="a" * 65), "invalid-token"),
        (signed(role=None), "invalid-token"),
        (signed(role="root"), "invalid-token"),
        (signed(role=["operator"]), "invalid-token"),
    ],
)
def test_a_token_that_is_not_good_is_refused(token: str, code: str) -> None:
    with pytest.raises(AuthError) as refused:
        Tokens(SECRET).verify(token)

    assert refused.value.code == code


@pytest.mark.parametrize("client_id", ["", "a b", "a/b", "a:b", "{0}", "ä", "a" * 65])
def test_no_token_is_made_for_a_name_that_cannot_be_one(client_id: str) -> None:
    with pytest.raises(ValueError, match="client id"):
        Tokens(SECRET).issue(client_id, "client", 60, NOW)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(b"short")


CHALLENGE = 'Bearer realm="photolog", error="invalid_token", error_description="{}"'


@pytest.mark.parametrize(
    ("authorization", "code", "challenge"),
    [
        (None, "missing-token", 'Bearer realm="photolog"'),
        ("", "missing-token", 'Bearer realm="photolog"'),
        ("Basic YTpi", "missing-token", 'Bearer realm="photolog"'),
        (
            "Bearer nonsense",
            "invalid-token",
            CHALLENGE.format("The token is not one of ours."),
        ),
        (
            f"bearer {signed(exp=int(NOW) - 60)}",
            "expired-token",
            CHALLENGE.format("The token has expired."),
        ),
    ],
)
async def test_a_stranger_is_asked_for_a_token(
    gateway: Gateway, authorization: str | None, code: str, challenge: str
) -> None:
    del gateway.client.headers["Authorization"]
    headers = {} if authorization is None else {"Authorization": authorization}

    answer = await gateway.client.get("/api/photos", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["WWW-Authenticate"] == challenge


async def test_a_token_in_the_address_counts_for_nothing(gateway: Gateway) -> None:
    token = gateway.tokens["alice"]
    del gateway.client.headers["Authorization"]

    answer = await gateway.client.get(f"/api/photos?token={token}&access_token={token}")

    assert answer.json()["code"] == "missing-token"


class TestLogin:
    async def test_a_browser_keeps_the_token_where_scripts_cannot_read_it(
        self, gateway: Gateway
    ) -> None:
        answer = await gateway.client.post("/api/login")

        said = answer.json()
        assert answer.status_code == 200
        assert (said["clientId"], said["role"]) == ("alice", "client")
        assert 3590 <= said["expiresInS"] <= 3600
        cookie = answer.headers["Set-Cookie"].lower()
        assert cookie.startswith("photolog_token=ey")
        for attribute in ("httponly", "samesite=strict", "path=/", "max-age=35"):
            assert attribute in cookie
        assert "secure" not in cookie  # this is plain HTTP

    async def test_the_cookie_speaks_for_who_logged_in(self, gateway: Gateway) -> None:
        await gateway.client.post("/api/login", headers=gateway.bearer("bob"))
        del gateway.client.headers["Authorization"]

        answer = await gateway.client.get("/api/login")

        assert answer.json()["clientId"] == "bob"

    @pytest.mark.parametrize(
        "origin", [None, "null", "https://evil.example", "http://127.0.0.1:1", "http://[broken"]
    )
    async def test_another_site_cannot_use_the_cookie(
        self, gateway: Gateway, origin: str | None
    ) -> None:
        photo = (await gateway.upload()).json()
        await gateway.client.post("/api/login")
        del gateway.client.headers["Authorization"]

        answer = await gateway.client.delete(
            f"/api/photos/{photo['photoId']}", headers={"Origin": origin} if origin else {}
        )

        assert (answer.status_code, answer.json()["code"]) == (403, "cross-origin")

    async def test_this_site_can_use_the_cookie(self, gateway: Gateway) -> None:
        photo = (await gateway.upload()).json()
        await gateway.client.post("/api/login")
        del gateway.client.headers["Authorization"]

        answer = await gateway.client.delete(
            f"/api/photos/{photo['photoId']}", headers={"Origin": gateway.base_url}
        )

        assert answer.status_code == 204

    async def test_a_cookie_alone_logs_nobody_in(self, gateway: Gateway) -> None:
        await gateway.client.post("/api/login")
        del gateway.client.headers["Authorization"]

        answer = await gateway.client.post("/api/login", headers={"Origin": gateway.base_url})

        assert (answer.status_code, answer.json()["code"]) == (401, "missing-token")

    async def test_a_bad_token_becomes_no_cookie(self, gateway: Gateway) -> None:
        answer = await gateway.client.post(
            "/api/login", headers={"Authorization": "Bearer nonsense"}
        )

        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-token")
        assert "Set-Cookie" not in answer.headers

    async def test_logging_out_forgets_the_cookie(self, gateway: Gateway) -> None:
        await gateway.client.post("/api/login")
        del gateway.client.headers["Authorization"]

        answer = await gateway.client.delete("/api/login")

        assert answer.status_code == 204
        assert (await gateway.client.get("/api/login")).json()["code"] == "missing-token"
