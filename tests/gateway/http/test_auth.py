import base64
import json
import re
import time
from typing import Any

import jwt
import pytest

from gateway.http.auth import PRIORITY_HIGH, SCOPES, AuthError, Key, Role, Tokens
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
    """Return a token with changed claims, without those that are None."""
    every = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jwt.encode(  # pyright: ignore[reportUnknownMemberType] # types of the library
        every, secret, algorithm=algorithm
    )


def unsigned() -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(CLAIMS)}."


def test_a_token_names_its_client_role_and_expiry() -> None:
    token = Tokens(SECRET).issue("alice@home.example", "operator", 3_600, NOW)

    principal = Tokens(SECRET).verify(token)
    assert (principal.client_id, principal.role) == ("alice@home.example", Role.OPERATOR)
    assert (principal.issued, principal.expires) == (pytest.approx(NOW, abs=0.001), int(NOW + 3600))
    assert principal.token_id


def test_every_token_has_an_id_of_its_own_and_names_its_key() -> None:
    tokens = Tokens(SECRET)
    first, second = (tokens.verify(tokens.issue("alice", "client", 3600, NOW)) for _ in range(2))

    assert first.token_id != second.token_id
    assert first.key_id == second.key_id == Key(SECRET).id
    assert SECRET.decode() not in Key(SECRET).id


def test_a_token_of_an_older_version_without_ids_is_valid() -> None:
    principal = Tokens(SECRET).verify(signed())

    assert (principal.client_id, principal.token_id, principal.scopes) == ("alice", None, set())


def test_a_token_has_the_scopes_that_it_was_given() -> None:
    tokens = Tokens(SECRET)
    plain, urgent, operating = (
        tokens.verify(tokens.issue("alice", role, 3600, NOW, scopes))
        for role, scopes in (("client", ()), ("client", SCOPES), ("operator", ()))
    )

    assert not plain.may(PRIORITY_HIGH)
    assert urgent.may(PRIORITY_HIGH)
    assert operating.may(PRIORITY_HIGH)
    # A newer version may have more scopes.
    assert tokens.verify(signed(scope="future:thing priority:high")).may(PRIORITY_HIGH)
    with pytest.raises(ValueError, match="unknown scope 'priority:hihg'"):
        tokens.issue("alice", "client", 3600, NOW, ["priority:hihg"])


def test_no_token_lives_longer_than_the_setting_allows() -> None:
    tokens = Tokens(SECRET, longest_life_s=86_400)

    with pytest.raises(ValueError, match=r"at most 1 day \(PHOTOLOG_TOKEN_TTL_MAX_S\), not 2 days"):
        tokens.issue("alice", "client", 2 * 86_400, NOW)
    with pytest.raises(AuthError, match="valid for 2 days; this gateway accepts at most 1 day"):
        tokens.verify(Tokens(SECRET).issue("alice", "client", 2 * 86_400, NOW))


OLD, NEW = Key(b"the key of last month, long enough"), Key(b"the key of this month, long enough")


def test_tokens_of_the_previous_key_are_valid_until_it_expires() -> None:
    token = Tokens((OLD,)).issue("alice", "client", 3600, NOW)
    until = time.time() + 3_600
    rotated = Tokens((NEW, Key(OLD.secret, until)))

    assert rotated.verify(token).key_id == OLD.id
    assert rotated.verify(signed(OLD.secret)).client_id == "alice"  # without a key id
    assert rotated.verify(rotated.issue("alice", "client", 3600, NOW)).key_id == NEW.id
    for after in (Tokens((NEW, Key(OLD.secret, NOW - 1))), Tokens((NEW,))):
        with pytest.raises(AuthError, match="did not sign it"):
            after.verify(token)


def test_the_key_id_of_another_key_does_not_bypass_the_signature() -> None:
    forged = jwt.encode(  # pyright: ignore[reportUnknownMemberType] # types of the library
        CLAIMS, OLD.secret, algorithm="HS256", headers={"kid": NEW.id}
    )

    with pytest.raises(AuthError):
        Tokens((NEW, OLD)).verify(forged)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_token_from_a_clock_that_is_ahead_is_rejected_with_that_reason(claim: str) -> None:
    begins: dict[str, Any] = {claim: int(NOW) + 3_600, "exp": int(NOW) + 7_200}

    with pytest.raises(AuthError) as refused:
        Tokens(SECRET).verify(signed(**begins))

    assert refused.value.code == "token-not-yet-valid"
    assert "the clock of the machine that issued it is ahead" in str(refused.value)


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
        (signed(iat=int(NOW) + 1800), "token-not-yet-valid"),
        (signed(exp=int(NOW) + 400 * 86_400), "invalid-token"),
        (signed(exp=float("inf")), "invalid-token"),
        (signed(exp=float("nan")), "expired-token"),
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
def test_an_invalid_token_is_rejected(token: str, code: str) -> None:
    with pytest.raises(AuthError) as refused:
        Tokens(SECRET).verify(token)

    assert refused.value.code == code


@pytest.mark.parametrize("client_id", ["", "a b", "a/b", "a:b", "{0}", "ä", "a" * 65])
def test_no_token_is_issued_for_an_invalid_client_id(client_id: str) -> None:
    with pytest.raises(ValueError, match="client id"):
        Tokens(SECRET).issue(client_id, "client", 3600, NOW)


def test_a_short_secret_is_rejected() -> None:
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
            CHALLENGE.format("The token is malformed, or this gateway did not sign it[.]"),
        ),
        (
            f"bearer {signed(exp=int(NOW) - 60)}",
            "expired-token",
            CHALLENGE.format("The token expired at .*; this gateway's clock says .*[.]"),
        ),
    ],
)
async def test_a_request_without_a_valid_token_is_challenged(
    gateway: Gateway, authorization: str | None, code: str, challenge: str
) -> None:
    del gateway.client.headers["Authorization"]
    headers = {} if authorization is None else {"Authorization": authorization}

    answer = await gateway.client.get("/api/photos", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert re.fullmatch(challenge, answer.headers["WWW-Authenticate"])


async def test_a_token_in_the_address_is_ignored(gateway: Gateway) -> None:
    token = gateway.tokens["alice"]
    del gateway.client.headers["Authorization"]

    answer = await gateway.client.get(f"/api/photos?token={token}&access_token={token}")

    assert answer.json()["code"] == "missing-token"
