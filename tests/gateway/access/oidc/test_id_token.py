"""ID tokens: who has signed them, and for whom."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import pytest

from gateway.access.oidc.flow import Flow
from gateway.http.auth import AuthError
from gateway.http.roles import Role
from store.log.log import Log
from tests.gateway.access.oidc.sign_ins import asked, begin, finish, sign_in
from tests.gateway.openid.forger import (
    KEY,
    KEYS,
    METADATA,
    STRANGERS_KEY,
    Forger,
    public,
    signed,
)
from tests.gateway.openid.provider import CLIENT_ID, CLIENT_SECRET, Json, ec_key, okp_key, rsa_key


def unsigned(claims: Json) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join([*(_part(each) for each in parts), ""])


def with_shared_key(secret: bytes) -> Callable[[Json], str]:
    def sign(claims: Json) -> str:
        parts = ({"alg": "HS256", "typ": "JWT", "kid": "one"}, claims)
        signing = ".".join(_part(each) for each in parts)
        digest = hmac.digest(secret, signing.encode(), "sha256")
        return f"{signing}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"

    return sign


def _part(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


FORGED: list[Callable[[Json], str]] = [
    unsigned,
    with_shared_key(CLIENT_SECRET.encode()),
    with_shared_key(json.dumps(public(KEY)).encode()),
    with_shared_key(KEY["n"].encode()),
    lambda claims: signed(claims, STRANGERS_KEY),
    lambda claims: signed(claims, STRANGERS_KEY, kid="unknown"),
    lambda claims: signed(claims, KEY, "RS384"),
    lambda claims: signed(claims)[:-8] + "AAAAAAAA",
    lambda claims: signed(claims).replace(".", "", 1),
    lambda _: "",
]


@pytest.mark.parametrize("forged", FORGED)
async def test_a_token_that_the_provider_has_not_signed_is_rejected(
    log: Log, forger: Forger, forged: Callable[[Json], str]
) -> None:
    flow = Flow(forger.config(), log)
    begun = await begin(flow)
    forger.gives(forged(forger.claims(asked(begun)["nonce"])))

    with pytest.raises(AuthError) as error:
        await finish(flow, begun)

    assert error.value.code == "invalid-identity"


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://login.example.org"},
        {"iss": None},
        {"aud": "another"},
        {"aud": [CLIENT_ID, "another"]},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"azp": "another"},
        {"aud": None},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": 10_000_000_000},
        {"nbf": 10_000_000_000},
        {"iat": None},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"sub": ""},
        {"sub": None},
        {"sub": "x" * 256},
        {"at_hash": "of another token"},
        {"sub": "\ud800"},
        {"sub": "a\udfffb"},
        {"nonce": "\ud800"},
        {"nonce": ["of a sign-in"]},
        {"at_hash": "\ud800"},
        {"azp": "\ud800"},
        {"aud": "\ud800"},
        {"iss": "\ud800"},
        {"iat": -(10**30)},
        {"iat": float("inf")},
        {"exp": float("nan")},
    ],
)
async def test_a_token_for_something_else_is_rejected(
    log: Log, forger: Forger, wrong: Json
) -> None:
    flow = Flow(forger.config(), log)
    begun = await begin(flow)
    token = signed(forger.claims(asked(begun)["nonce"], **wrong))
    forger.gives(token, access_token="the access token")

    with pytest.raises(AuthError) as error:
        await finish(flow, begun)

    assert error.value.code == "invalid-identity"


@pytest.mark.parametrize(
    ("text", "name"),
    [("\ud800", None), ("\x00\x1b[31m", None), ("x" * 5_000, "x" * 64), ("\udfff" * 300, None)],
)
async def test_other_claims_may_have_any_text(
    log: Log, forger: Forger, text: str, name: str | None
) -> None:
    config = forger.config(role_claim="groups", operators="ops")

    person = await sign_in(log, forger, config, sid=text, name=text, groups=[text], acr=text)

    assert (person.name, person.role) == (name, Role.CLIENT)


@pytest.mark.parametrize("text", ["\ud800", "alice\udfff", "x" * 1_001])
async def test_a_client_claim_that_utf_8_cannot_encode_is_rejected(
    log: Log, forger: Forger, text: str
) -> None:
    with pytest.raises(AuthError) as error:
        await sign_in(log, forger, forger.config(client_claim="login"), login=text)

    assert error.value.code == "invalid-identity"


async def test_the_clock_of_the_provider_may_be_off_by_the_leeway(log: Log, forger: Forger) -> None:
    now = forger.claims("")["iat"]

    await sign_in(log, forger, iat=now + 50)
    await sign_in(log, forger, exp=now - 50)

    with pytest.raises(AuthError, match="not valid"):
        await sign_in(log, forger, exp=now - 70)


@pytest.mark.parametrize(
    ("key", "algorithm", "digest"),
    [(KEY, "RS256", "sha256"), (ec_key("e"), "ES256", "sha256"), (okp_key("o"), "EdDSA", "sha512")],
)
async def test_each_type_of_key_signs_tokens_and_the_hash_of_the_access_token(
    log: Log, forger: Forger, key: Json, algorithm: str, digest: str
) -> None:
    forger.answers[KEYS] = {"keys": [public(KEY), public(key)]}
    flow = Flow(forger.config(), log)
    begun = await begin(flow)
    whole = hashlib.new(digest, b"the access token").digest()
    at_hash = base64.urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode()
    claims = forger.claims(asked(begun)["nonce"], at_hash=at_hash)
    forger.gives(signed(claims, key, algorithm), access_token="the access token")

    assert (await finish(flow, begun)).provider == forger.issuer


@pytest.mark.parametrize("algorithm", ["PS256", "RS512"])
async def test_a_key_without_an_algorithm_serves_any_of_its_type(
    log: Log, forger: Forger, algorithm: str
) -> None:
    forger.answers[KEYS] = {"keys": [{n: v for n, v in public(KEY).items() if n != "alg"}]}
    flow = Flow(forger.config(), log)
    begun = await begin(flow)
    forger.gives(signed(forger.claims(asked(begun)["nonce"]), KEY, algorithm))

    assert (await finish(flow, begun)).provider == forger.issuer


async def test_an_algorithm_that_the_provider_does_not_announce_is_rejected(
    log: Log, forger: Forger
) -> None:
    metadata = forger.answers[METADATA]
    assert isinstance(metadata, dict)
    metadata["id_token_signing_alg_values_supported"] = ["ES256"]

    with pytest.raises(AuthError, match="algorithm"):
        await sign_in(log, forger)


async def test_a_new_key_is_loaded_once_and_unknown_ones_not_again_and_again(
    log: Log, forger: Forger
) -> None:
    await sign_in(log, forger)
    flow = Flow(forger.config(), log)
    await begin(flow)
    before = forger.asked[KEYS]
    new = ec_key("new")
    forger.answers[KEYS] = {"keys": [public(new)]}

    begun = await begin(flow)
    forger.gives(signed(forger.claims(asked(begun)["nonce"]), new, "ES256"))
    await finish(flow, begun)
    assert forger.asked[KEYS] == before + 1

    for number in range(3):
        begun = await begin(flow)
        forger.gives(signed(forger.claims(asked(begun)["nonce"]), rsa_key(f"unknown-{number}")))
        with pytest.raises(AuthError):
            await finish(flow, begun)
    assert forger.asked[KEYS] == before + 1
