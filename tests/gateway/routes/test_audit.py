"""``GET /api/audit``, and the reasons and ends that controls take."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from domain.moments import iso
from projections.models.audit import LISTED
from tests.gateway.conftest import Gateway
from tests.gateway.processing import fail

AUDIT = "/api/audit"
WHY = "a bad batch"


async def act(gateway: Gateway, method: str, path: str, body: Any) -> httpx.Response:
    return await gateway.client.request(
        method, f"/api/ops/{path}", json=body, headers=gateway.bearer("operator")
    )


async def listed(gateway: Gateway, query: str = "") -> list[dict[str, Any]]:
    end = await gateway.log.end(0)
    answer = await gateway.get(f"{AUDIT}?{query}&after={end}", name="auditor")
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_each_control_is_listed_with_its_reason(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await fail(gateway, photo)
    end = str(await gateway.log.end(0))
    selected = {"photoIds": [photo["photoId"]]}
    for method, path, body in (
        ("POST", "queues/metadata/pause", {}),
        ("POST", "queues/metadata/resume", {}),
        ("PUT", "queues/metadata/limits", {"concurrency": 3}),
        ("POST", "queues/thumbnails/drain", {}),
        ("PUT", "clients/alice/quota", {"photos": 9}),
        ("POST", f"dead-letters/retry?after={end}", selected),
    ):
        answer = await act(gateway, method, path, {**body, "reason": WHY})
        assert answer.status_code == 200, answer.text

    found = await listed(gateway)

    assert [each["what"] for each in found] == [
        "photo.processing.requested",
        "client.quota.changed",
        "pipeline.paused",
        "pipeline.limited",
        "pipeline.resumed",
        "pipeline.paused",
    ]
    assert {(each["actor"], each["reason"]) for each in found} == {("operator:operator", WHY)}
    assert [each["stage"] for each in found[2:]] == ["thumbnails", *3 * ["metadata"]]
    assert found[0]["photoId"] == photo["photoId"]
    assert [each["what"] for each in await listed(gateway, "stage=metadata&to=2999-01-01")] == [
        "pipeline.limited",
        "pipeline.resumed",
        "pipeline.paused",
    ]
    assert await listed(gateway, "actor=operator:nobody") == []


async def test_a_control_needs_no_reason(gateway: Gateway) -> None:
    bodies: tuple[dict[str, Any] | None, ...] = (None, {})
    for body in bodies:
        assert (await act(gateway, "POST", "queues/metadata/pause", body)).status_code == 200
        assert (await act(gateway, "POST", "queues/metadata/resume", body)).status_code == 200

    assert {each["reason"] for each in await listed(gateway)} == {None}


async def test_a_pause_says_when_it_ends(gateway: Gateway) -> None:
    until = iso(datetime.now(UTC) + timedelta(hours=1))

    answer = await act(gateway, "POST", "queues/metadata/pause", {"until": until})

    assert answer.json()["pausedUntil"] == until
    queues = (await gateway.get("/api/ops/queues", name="auditor")).json()
    ends = {each["stage"]: each["pausedUntil"] for each in queues["stages"]}
    assert (ends["metadata"], ends["thumbnails"]) == (until, None)
    assert (await listed(gateway))[0]["data"]["until"] == until


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"until": "2020-01-01T00:00:00Z"}, "invalid-pause-end"),
        ({"until": "soon"}, "invalid-time"),
        ({"reason": ""}, "invalid-request"),
        ({"reason": "x" * 501}, "invalid-request"),
        ({"why": "x"}, "invalid-request"),
    ],
)
async def test_a_bad_pause_is_rejected(shared_gateway: Gateway, body: Any, code: str) -> None:
    for path in ("pause", "drain"):
        answer = await act(shared_gateway, "POST", f"queues/metadata/{path}", body)
        assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("type=x", "invalid-request"),
        ("from=yesterday", "invalid-time"),
        ("cursor=x", "invalid-cursor"),
        ("limit=100000", "invalid-limit"),
        ("what=nonsense", "invalid-request"),
        ("what=pipeline.alerted", "invalid-request"),
        ("stage=nonsense", "unknown-stage"),
    ],
)
async def test_a_bad_query_is_rejected(shared_gateway: Gateway, query: str, code: str) -> None:
    answer = await shared_gateway.get(f"{AUDIT}?{query}", name="operator")

    assert answer.status_code in (400, 404)
    assert answer.json()["code"] == code


async def test_every_kind_of_entry_and_stage_can_be_asked_for(gateway: Gateway) -> None:
    for query in (*(f"what={each}" for each in LISTED), "stage=all", "stage=erasure"):
        assert (await gateway.get(f"{AUDIT}?{query}", name="operator")).status_code == 200, query


async def test_clients_do_not_see_the_list(gateway: Gateway) -> None:
    assert (await gateway.get(AUDIT)).json()["code"] == "forbidden"
