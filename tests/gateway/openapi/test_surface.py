"""Requests made from the OpenAPI document, valid and invalid ones, with every role.

None gets an answer of 500, nor one that the document does not list for the operation.
"""

from collections.abc import Callable
from typing import Any

import pytest
import requests
import schemathesis
from anyio import to_thread
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from gateway.http.problems import MEDIA_TYPE
from gateway.http.rate_limits import RateLimits
from tests.gateway.conftest import Gateway, picture
from tests.gateway.documented import codes
from tests.servers import LONG

ENDLESS = frozenset({"streamEvents", "awaitDrain"})
"""Operations that keep their connection open."""

LAST = ("revokeTokens", "logOut")
"""Operations that may end the tokens of the others."""

for _type in ("application/offset+octet-stream", "application/partial-upload"):
    schemathesis.serializer.alias(_type, "application/octet-stream")

EXAMPLES = 60 if LONG else 2
ROLES = ("alice", "operator", "auditor", "nobody")


@pytest.fixture
def rates() -> RateLimits:
    """Each request reaches its route, also those without a token."""
    return RateLimits(rate_anonymous_per_address=None, rate_sign_in_failures=None)


@pytest.mark.parametrize("who", ROLES)
async def test_no_request_gets_a_500_or_an_undocumented_answer(
    gateway: Gateway, document: dict[str, Any], who: str
) -> None:
    photo = (await gateway.upload(picture())).json()
    await gateway.get("/api/photos", after=photo["position"])
    headers = gateway.bearer(who) if who in gateway.tokens else {}
    webhook = await gateway.client.post("/api/webhooks", json={"url": "https://example.com/"})
    known = {"photoId": photo["photoId"], "jobId": photo["jobId"], "stage": "metadata"}
    known["webhookId"] = webhook.json()["id"]

    await to_thread.run_sync(_exercise_all, gateway.base_url, document, headers, known)


def _exercise_all(
    base_url: str, document: dict[str, Any], headers: dict[str, str], known: dict[str, str]
) -> None:
    anywhere = set(document["info"]["description"].split("`"))
    schema: Any = schemathesis.openapi.from_dict(document)
    operations = [each.ok() for each in schema.get_all_operations()]
    operations.sort(key=lambda each: each.definition.raw["operationId"] in LAST)
    with requests.Session() as session:
        session.trust_env = False

        def send(case: Any, described: dict[str, Any]) -> None:
            try:
                answer = case.call(base_url=base_url, session=session, headers=headers, timeout=30)
            except requests.exceptions.InvalidHeader:
                return  # no client can send it
            told = f"{case.as_curl_command(headers=headers)}\n{answer.content[:500]!r}"
            assert answer.status_code != 500, told
            if answer.headers.get("content-type") == [MEDIA_TYPE]:
                assert answer.json()["code"] in codes(described) | anywhere, told
            else:
                assert str(answer.status_code) in described["responses"], told

        for operation in operations:
            if operation.definition.raw["operationId"] not in ENDLESS:
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    _exercise(operation, mode, known, send)


def _exercise(
    operation: Any,
    mode: GenerationMode,
    known: dict[str, str],
    send: Callable[[Any, dict[str, Any]], None],
) -> None:
    """Send requests of one kind, each also about things that exist."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=not LONG,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def exercise(case: Any) -> None:
        send(case, operation.definition.raw)
        existing = {name: known[name] for name in case.path_parameters if name in known}
        if existing:
            case.path_parameters = {**case.path_parameters, **existing}
            send(case, operation.definition.raw)

    try:
        exercise()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # nothing about the request can be wrong
