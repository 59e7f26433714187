"""A sign-in works once, in the browser that began it, and for the person who is meant."""

import base64
import hashlib
from contextlib import suppress
from typing import Any

import anyio
import pytest

from gateway.access.oidc.flow import TABS, Begun, Flow, Returned
from gateway.access.oidc.identity import identify
from gateway.http.auth import AuthError, Forbidden
from gateway.http.problems import Refused
from store.log.log import Log
from tests.gateway.access.oidc.sign_ins import asked, begin, finish
from tests.gateway.openid.forger import (
    METADATA,
    SUBJECT,
    TOKEN,
    USER_INFO,
    Forger,
    Raw,
    signed,
)
from tests.gateway.openid.provider import CLIENT_SECRET

DEADLINE_S = 10.0


async def test_a_person_is_signed_in(log: Log, forger: Forger) -> None:
    flow = Flow(forger.config(name_claim="nick"), log)
    begun = await begin(flow, "/console?x=1")
    sent = asked(begun)
    forger.gives(signed(forger.claims(sent["nonce"], nick="Ann")))

    returned = Returned(state=sent["state"], code="the-code")
    principal, return_to = await flow.finish(returned, begun.browser)

    assert begun.url.startswith(f"{forger.issuer}/authorize?tenant=1&")
    assert (sent["response_type"], sent["scope"]) == ("code", "openid profile email")
    assert sent["redirect_uri"] == "https://photos.example.com/api/login/oidc/callback"
    assert return_to == "/console?x=1"
    expected = identify({"sub": SUBJECT}, forger.config()).client_id
    assert (principal.client_id, principal.name) == (expected, "Ann")
    assert principal.provider == forger.issuer
    [form] = forger.forms
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert sent["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert (sent["code_challenge_method"], form["code"]) == ("S256", "the-code")
    assert CLIENT_SECRET not in form.values()


async def test_a_sign_in_works_once(log: Log, forger: Forger) -> None:
    flow = Flow(forger.config(), log)
    begun = await begin(flow)
    forger.gives(signed(forger.claims(asked(begun)["nonce"])))
    await finish(flow, begun)

    with pytest.raises(AuthError) as error:
        await finish(flow, begun)

    assert error.value.code == "sign-in-expired"
    assert forger.asked[TOKEN] == 1


async def test_of_concurrent_ends_of_a_sign_in_one_succeeds(log: Log, forger: Forger) -> None:
    flow = Flow(forger.config(), log)
    begun = await begin(flow)
    forger.gives(signed(forger.claims(asked(begun)["nonce"])))
    ended: list[str] = []

    async def end() -> None:
        try:
            await finish(flow, begun)
            ended.append("signed in")
        except AuthError as error:
            ended.append(error.code)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(end)

    assert sorted(ended) == ["sign-in-expired"] * 4 + ["signed in"]


@pytest.mark.parametrize("browser", [None, "", "x" * 43])
async def test_another_browser_cannot_finish_a_sign_in_and_ends_it(
    log: Log, forger: Forger, browser: str | None
) -> None:
    flow = Flow(forger.config(), log)
    begun = await begin(flow)
    returned = Returned(state=asked(begun)["state"], code="the-code")

    for cookie in (browser, begun.browser):
        with pytest.raises(AuthError) as error:
            await flow.finish(returned, cookie)
        assert error.value.code == "sign-in-expired"
    assert forger.asked[TOKEN] == 0


@pytest.mark.parametrize(
    "state", [None, "", "0-" + "x" * 32, "9999-" + "x" * 32, "\udcff", "1" * 99]
)
async def test_an_unknown_state_finishes_nothing(
    log: Log, forger: Forger, state: str | None
) -> None:
    with pytest.raises(AuthError) as error:
        await Flow(forger.config(), log).finish(Returned(state=state, code="c"), "x" * 43)

    assert error.value.code == "sign-in-expired"


async def test_two_tabs_of_a_browser_do_not_disturb_each_other(log: Log, forger: Forger) -> None:
    flow = Flow(forger.config(), log)
    first = await begin(flow)
    second = await begin(flow, browser=first.browser)

    for begun in (second, first):
        forger.gives(signed(forger.claims(asked(begun)["nonce"])))
        await finish(flow, begun)


async def test_a_value_that_somebody_planted_finishes_no_sign_in(log: Log, forger: Forger) -> None:
    flow, planted = Flow(forger.config(), log), "x" * 43
    begun = await begin(flow, browser=planted)

    with pytest.raises(AuthError) as error:
        await flow.finish(Returned(state=asked(begun)["state"], code="c"), planted)
    assert error.value.code == "sign-in-expired"


async def test_a_cookie_of_many_sign_ins_keeps_the_last(log: Log, forger: Forger) -> None:
    flow = Flow(forger.config(), log)
    begun = await begin(flow)
    for _ in range(TABS + 2):
        begun = await begin(flow, browser=begun.browser)

    assert len(begun.browser.split(".")) == TABS
    forger.gives(signed(forger.claims(asked(begun)["nonce"])))
    await finish(flow, begun)


async def test_a_sign_in_expires(log: Log, forger: Forger) -> None:
    flow = Flow(forger.config(sign_in_s=0.001), log)
    begun = await begin(flow)
    redis: Any = log.redis
    with anyio.fail_after(DEADLINE_S):
        while await redis.keys(f"{log.keys.prefix}:*sign-in:*"):
            await anyio.sleep(0.002)

    with pytest.raises(AuthError) as error:
        await finish(flow, begun)

    assert error.value.code == "sign-in-expired"


async def test_an_address_keeps_a_limited_number_of_sign_ins(log: Log, forger: Forger) -> None:
    flow = Flow(forger.config(sign_ins_per_address=2), log)
    elsewhere = await flow.begin("192.0.2.2", None, "/")
    begun = [elsewhere, *[await begin(flow) for _ in range(3)]]

    finished: list[Begun] = []
    for each in begun:
        forger.gives(signed(forger.claims(asked(each)["nonce"])))
        with suppress(AuthError):
            await finish(flow, each)
            finished.append(each)

    assert len(finished) == 3
    assert elsewhere in finished


@pytest.mark.parametrize("issuer", ["https://login.example.org", ""])
async def test_the_answer_of_another_provider_is_rejected(
    log: Log, forger: Forger, issuer: str
) -> None:
    flow = Flow(forger.config(), log)

    with pytest.raises(AuthError, match="another provider"):
        await finish(flow, await begin(flow), issuer=issuer)

    assert forger.asked[TOKEN] == 0


async def test_a_provider_that_promises_its_name_must_send_it(log: Log, forger: Forger) -> None:
    metadata = forger.answers[METADATA]
    assert isinstance(metadata, dict)
    metadata["authorization_response_iss_parameter_supported"] = True
    flow = Flow(forger.config(), log)

    with pytest.raises(AuthError, match="another provider"):
        await finish(flow, await begin(flow))


@pytest.mark.parametrize("error", ["access_denied", "server_error", "<script>", None])
async def test_a_refusal_of_the_provider_is_one(
    log: Log, forger: Forger, error: str | None
) -> None:
    flow = Flow(forger.config(), log)
    begun = await begin(flow)
    returned = Returned(state=asked(begun)["state"], error=error)

    with pytest.raises(Forbidden) as refused:
        await flow.finish(returned, begun.browser)

    assert refused.value.code == "sign-in-refused"
    assert "<" not in str(refused.value)


async def test_a_code_that_the_provider_rejects_is_refused(log: Log, forger: Forger) -> None:
    forger.answers[TOKEN] = Raw(b'{"error": "invalid_grant"}', status=400)
    flow = Flow(forger.config(), log)

    with pytest.raises(Forbidden):
        await finish(flow, await begin(flow))


async def test_user_info_completes_the_claims_and_changes_none(log: Log, forger: Forger) -> None:
    forger.answers[USER_INFO] = {"sub": SUBJECT, "name": "Ann", "groups": ["ops"], "iss": "x"}
    config = forger.config(role_claim="groups", operators="ops")
    flow = Flow(config, log)
    begun = await begin(flow)
    token = signed(forger.claims(asked(begun)["nonce"], groups=["family"]))
    forger.gives(token, access_token="t")

    principal = await finish(flow, begun)

    assert (principal.role.value, principal.name) == ("client", "Ann")


async def test_user_info_about_somebody_else_is_rejected(log: Log, forger: Forger) -> None:
    forger.answers[USER_INFO] = {"sub": "somebody else", "name": "Ann"}
    flow = Flow(forger.config(), log)
    begun = await begin(flow)
    forger.gives(signed(forger.claims(asked(begun)["nonce"])), access_token="t")

    with pytest.raises(AuthError, match="somebody else"):
        await finish(flow, begun)


@pytest.mark.parametrize(
    "path",
    [
        *("//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/api/photos"),
        *("/?x=<", "/console/../x", "/\n", "javascript:alert(1)", "/%2fevil", "/?" + "x" * 501),
    ],
)
async def test_a_sign_in_returns_to_pages_of_this_gateway_alone(
    log: Log, forger: Forger, path: str
) -> None:
    with pytest.raises(Refused) as error:
        await begin(Flow(forger.config(), log), path)

    assert error.value.code == "invalid-request"


async def test_without_a_setting_there_is_no_sign_in(log: Log) -> None:
    flow = Flow(None, log)

    for attempt in (begin(flow), flow.finish(Returned(), None), flow.sign_out_url()):
        with pytest.raises(Refused) as error:
            await attempt
        assert error.value.code == "no-provider"
