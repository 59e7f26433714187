"""The last hour of the queues."""

from typing import Any

import anyio
import pytest

from domain.pipeline.stages import all_stages
from gateway.queries import throughput
from gateway.queries.series import Series
from gateway.queries.throughput import Count, Rates
from tests.gateway.conftest import DEADLINE_S, Gateway
from tests.gateway.processing import fail
from tests.gateway.tasks import claim, dispatch

SERIES = "/api/ops/series"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample often enough for a test."""
    monkeypatch.setattr(throughput.Counting, "every_s", 0.05)


async def points(gateway: Gateway, since: str | None = None) -> list[dict[str, Any]]:
    """Return the points once there is one."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            answer = await gateway.client.get(
                SERIES,
                params={"since": since} if since else None,
                headers=gateway.bearer("auditor"),
            )
            assert answer.status_code == 200, answer.text
            if found := answer.json()["items"]:
                return found
            await anyio.sleep(0.01)


async def test_a_sample_that_no_partition_has_answered_gives_no_point(gateway: Gateway) -> None:
    series = Series(gateway.deps)

    await series.add(Count(at=0.0, passed={}), Rates())

    assert list(series.points) == []


async def test_points_tell_backlog_rates_and_failures_of_each_stage(gateway: Gateway) -> None:
    failed = (await gateway.upload()).json()
    await gateway.upload()
    await gateway.upload()
    await dispatch(gateway)
    await claim(gateway)
    (start, *_) = (await points(gateway))[-1:]
    await fail(gateway, failed)

    seen: list[dict[str, Any]] = []
    with anyio.fail_after(DEADLINE_S):
        while sum(each["stages"]["validation"]["failures"] for each in seen) == 0:
            seen = await points(gateway, start["time"])
            await anyio.sleep(0.01)

    assert list(seen[-1]["stages"]) == list(all_stages())
    latest = seen[-1]["stages"]["validation"]
    assert (latest["waiting"], latest["inProgress"], latest["delayed"]) == (2, 1, 0)
    assert latest["inPerS"] is not None
    assert seen[-1]["lagMs"] is not None
    assert seen[-1]["usedBytes"] > 0


async def test_since_returns_only_later_points_in_order(gateway: Gateway) -> None:
    first = (await points(gateway))[0]["time"]

    later = [each["time"] for each in await points(gateway, first)]

    assert later == sorted(later)
    assert all(each > first for each in later)


async def test_a_malformed_time_and_unknown_parameters_are_rejected(gateway: Gateway) -> None:
    for query in ("since=yesterday", "since=", "until=1", "since=2026-11-23T10:00:00.000Z' OR 1"):
        answer = await gateway.get(f"{SERIES}?{query}", name="operator")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request"), query


async def test_clients_do_not_see_the_series(gateway: Gateway) -> None:
    assert (await gateway.get(SERIES)).json()["code"] == "forbidden"
