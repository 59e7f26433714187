"""Logout tokens: who has signed them, for whom, and what they end."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.access.oidc.config import SESSION_MAX_S
from gateway.access.oidc.flow import Flow
from gateway.access.oidc.logout_token import EVENT
from gateway.http.auth import Principal
from gateway.http.problems import Refused
from store.clients.provider_sign_in import ProviderSignIn
from store.clients.sign_outs import SignOuts
from store.log.log import Log
from tests.gateway.access.oidc.sign_ins import asked, begin, finish, sign_in
from tests.gateway.access.oidc.test_id_token import FORGED
from tests.gateway.openid.forger import SUBJECT, USER_INFO, Forger, signed
from tests.gateway.openid.provider import CLIENT_ID, Json


def logout_claims(forger: Forger, **others: Any) -> Json:
    now = int(time.time())
    given: Json = {
        "iss": forger.issuer,
        "aud": CLIENT_ID,
        "iat": now,
        "exp": now + 120,
        "jti": f"{time.time_ns()}",
        "sub": SUBJECT,
        "events": {EVENT: {}},
    }
    return {name: each for name, each in {**given, **others}.items() if each is not None}


async def sign_out(log: Log, forger: Forger, **claims: Any) -> None:
    token = signed(logout_claims(forger, **claims), typ="logout+jwt")
    await Flow(forger.config(), log).sign_out(token, SignOuts(log))


def sign_in_of(principal: Principal) -> ProviderSignIn:
    assert principal.provider_sign_in is not None
    return principal.provider_sign_in


def marks(log: Log, principal: Principal) -> list[str]:
    """Return the keys of the principal's marks."""
    digests = sign_in_of(principal).marks
    return [log.keys.sign_out(log.partition_of(each), each) for each in digests]


async def ended(log: Log, *principals: Principal) -> list[bool]:
    """Return which of these have been signed out."""
    found = await SignOuts(log).ended(map(sign_in_of, principals))
    return [sign_in_of(each) in found for each in principals]


@pytest.mark.parametrize(
    ("named", "out"),
    [
        ({}, [True, True, True, False]),
        ({"sid": "one"}, [True, False, True, False]),
        ({"sid": "one", "sub": None}, [True, False, False, False]),
        ({"sid": "unknown"}, [False, False, True, False]),
    ],
    ids=["the person", "a session", "a session alone", "another session"],
)
async def test_a_sign_out_ends_the_sign_ins_that_it_names(
    log: Log, forger: Forger, named: Json, out: list[bool]
) -> None:
    before = [
        await sign_in(log, forger, sid="one"),
        await sign_in(log, forger, sid="two"),
        await sign_in(log, forger),  # the provider did not name its session
        await sign_in(log, forger, sub="somebody else", sid="three"),
    ]

    await sign_out(log, forger, **named)

    assert await ended(log, *before) == out


async def test_a_sign_out_ends_no_sign_in_that_follows(log: Log, forger: Forger) -> None:
    now = int(time.time())
    await sign_out(log, forger, iat=now - 10)
    later = await sign_in(log, forger, iat=now - 9)
    assert await ended(log, later) == [False]

    await sign_out(log, forger, iat=now - 9)
    await sign_out(log, forger, iat=now - 20)

    assert await ended(log, later) == [True]


@pytest.mark.parametrize("forged", FORGED)
async def test_a_token_that_the_provider_has_not_signed_is_rejected(
    log: Log, forger: Forger, forged: Callable[[Json], str]
) -> None:
    person = await sign_in(log, forger)

    with pytest.raises(Refused) as error:
        await Flow(forger.config(), log).sign_out(forged(logout_claims(forger)), SignOuts(log))

    assert error.value.code == "invalid-logout-token"
    assert await ended(log, person) == [False]


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://login.example.org"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"iat": 10_000_000_000},
        {"iat": 1_000_000_000},
        {"iat": None},
        {"iat": f"{int(time.time())}"},
        {"exp": 1_000_000_000},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 256},
        {"jti": 1},
        {"nonce": "of a sign-in"},
        {"nonce": ""},
        {"events": None},
        {"events": {}},
        {"events": [EVENT]},
        {"events": {EVENT: "yes"}},
        {"events": {"https://example.com/other": {}}},
        {"sub": None},
        {"sub": ""},
        {"sub": 1},
        {"sub": "x" * 256},
        {"sid": ""},
        {"sid": "\ud800"},
        {"sub": "a\ud800"},
        {"jti": "\udfff"},
        {"iat": -(10**30)},
        {"iat": float("inf")},
        {"sid": ["one"]},
    ],
)
async def test_a_token_that_is_no_logout_token_for_this_application_is_rejected(
    log: Log, forger: Forger, wrong: Json
) -> None:
    person = await sign_in(log, forger)

    with pytest.raises(Refused) as error:
        await sign_out(log, forger, **wrong)

    assert error.value.code == "invalid-logout-token"
    assert await ended(log, person) == [False]


async def test_an_id_token_signs_nobody_out(log: Log, forger: Forger) -> None:
    person = await sign_in(log, forger)

    for nonce in ("any", None):
        token = signed(forger.claims("", nonce=nonce, jti="1"))
        with pytest.raises(Refused) as error:
            await Flow(forger.config(), log).sign_out(token, SignOuts(log))
        assert error.value.code == "invalid-logout-token"
    assert await ended(log, person) == [False]


async def test_a_token_works_once_at_whichever_gateway(log: Log, forger: Forger) -> None:
    await sign_out(log, forger, jti="one")

    with pytest.raises(Refused, match="used before"):
        await sign_out(log, forger, jti="one")
    await sign_out(log, forger, jti="two")


@pytest.mark.parametrize("sid", [42, "", "x" * 256, ["one"], "\ud800"])
async def test_a_session_that_no_logout_token_can_name_counts_as_unknown(
    log: Log, forger: Forger, sid: Any
) -> None:
    person = await sign_in(log, forger, sid=sid)

    await sign_out(log, forger, sid="the session at the provider")

    assert await ended(log, person) == [True]


async def test_only_the_id_token_names_the_session(log: Log, forger: Forger) -> None:
    flow = Flow(forger.config(role_claim="groups"), log)
    begun = await begin(flow)
    forger.answers[USER_INFO] = {"sub": SUBJECT, "sid": "S-1-5-21-1", "groups": []}
    forger.gives(signed(forger.claims(asked(begun)["nonce"])), access_token="a token")
    person = await finish(flow, begun)

    await sign_out(log, forger, sid="the session at the provider")

    assert forger.asked[USER_INFO] == 1
    assert await ended(log, person) == [True]


async def test_a_sign_out_is_kept_as_long_as_any_setting_lets_a_session_live(
    log: Log, forger: Forger
) -> None:
    person = await sign_in(log, forger, forger.config(session_s=SESSION_MAX_S))
    token = signed(logout_claims(forger), typ="logout+jwt")

    await Flow(forger.config(session_s=60.0), log).sign_out(token, SignOuts(log))

    redis: Any = log.redis
    lifetimes_s = [await redis.ttl(each) for each in marks(log, person)]
    assert max(lifetimes_s) >= person.expires - time.time()


@pytest.mark.parametrize("value", ["9" * 16, "9" * 400, "9" * 5000, "-1", "", "1e9", "١٢"])
async def test_a_mark_that_is_no_time_ends_nothing_and_is_replaced(
    log: Log, forger: Forger, value: str
) -> None:
    redis: Any = log.redis
    person = await sign_in(log, forger)
    for mark in marks(log, person):
        await redis.set(mark, value)
    assert await ended(log, person) == [False]

    await sign_out(log, forger)

    assert await ended(log, person) == [True]
    later = await sign_in(log, forger, iat=int(time.time()) + 10)
    assert await ended(log, later) == [False]


async def test_without_a_provider_nobody_is_signed_out(log: Log) -> None:
    with pytest.raises(Refused) as error:
        await Flow(None, log).sign_out("a.b.c", SignOuts(log))

    assert error.value.code == "no-provider"
