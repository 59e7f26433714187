"""A provider that is down, slow or none at all, and comes back."""

import anyio
import pytest

from gateway.access.oidc.flow import Flow
from gateway.access.oidc.provider import Provider
from gateway.access.oidc.transport import Transport
from gateway.http.problems import Refused
from store.log.log import Log
from tests.clocks import Clock
from tests.gateway.access.oidc.sign_ins import begin
from tests.gateway.openid.forger import (
    METADATA,
    Forger,
    Raw,
)
from tests.gateway.openid.provider import Json

NOT_A_PROVIDER: dict[str, Json | Raw] = {
    "down": Raw(status=503),
    "a page": Raw(b"<p>Hello"),
    "a list": Raw(b"[]"),
    "too large": Raw(b'{"x": "' + b"x" * 2_000 + b'"}'),
    "compressed": Raw(b"\x1f\x8b", headers="Content-Encoding: gzip\r\n"),
    "a redirect": Raw(status=302, headers="Location: http://127.0.0.1:1/\r\n"),
    "slow": Raw(is_silent=True),
    "other metadata": {"issuer": "x"},
    "another issuer": {
        "issuer": "https://login.example.org",
        **dict.fromkeys(("authorization_endpoint", "token_endpoint", "jwks_uri"), "https://h/"),
    },
    "a script": {
        "issuer": "ISSUER",
        **dict.fromkeys(("authorization_endpoint", "token_endpoint", "jwks_uri"), "javascript:1"),
    },
}


@pytest.mark.parametrize("answer", NOT_A_PROVIDER.values(), ids=NOT_A_PROVIDER)
async def test_without_a_provider_that_answers_the_sign_in_fails_and_it_is_left_alone(
    log: Log, forger: Forger, answer: Json | Raw
) -> None:
    if isinstance(answer, dict) and answer["issuer"] == "ISSUER":
        answer = {**answer, "issuer": forger.issuer}
    forger.answers[METADATA] = answer
    timeout_s = 0.5 if isinstance(answer, Raw) and answer.is_silent else 10.0
    flow = Flow(forger.config(timeout_s=timeout_s, answer_bytes=1_000), log)

    for _ in range(3):
        with pytest.raises(Refused) as error:
            await begin(flow)
        assert (error.value.code, error.value.headers) == (
            "provider-unavailable",
            {"Retry-After": "60"},
        )

    assert forger.asked[METADATA] == 1


async def test_a_provider_that_is_back_is_used_again(forger: Forger) -> None:
    clock = Clock()
    provider = Provider(forger.config(), clock)
    good, forger.answers[METADATA] = forger.answers[METADATA], Raw(status=500)
    with pytest.raises(Refused):
        await provider.metadata()
    forger.answers[METADATA] = good

    clock.now_s += 61
    assert (await provider.metadata()).issuer == forger.issuer


async def test_old_metadata_stay_while_the_provider_is_down(forger: Forger) -> None:
    clock = Clock()
    provider = Provider(forger.config(), clock)
    known = await provider.metadata()
    forger.answers[METADATA] = Raw(status=500)

    clock.now_s += 3_601
    assert await provider.metadata() == known
    assert await provider.metadata() == known
    assert forger.asked[METADATA] == 2


async def test_concurrent_sign_ins_load_the_metadata_once(forger: Forger) -> None:
    provider = Provider(forger.config())
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(provider.metadata)

    assert forger.asked[METADATA] == 1


async def test_a_provider_elsewhere_is_asked_over_tls_alone(forger: Forger) -> None:
    elsewhere = forger.config(issuer="https://login.example.com")

    with pytest.raises(Refused, match="not an https:// address"):
        await Transport(elsewhere).get(forger.issuer + METADATA)

    assert forger.asked.total() == 0
