"""Settings, alerts and open requests, as the console shows them."""

import msgspec
import pytest

from domain.pipeline.control import RaiseAlert
from domain.pipeline.failures import Category
from gateway.dependencies import Dependencies, RunningSetting
from store.log.control import ControlLog
from tests.conftest import CONTEXT
from tests.gateway.conftest import Gateway
from tests.gateway.listeners import following

SETTING = RunningSetting(name="port", value="3000", source="default", meaning="Port to listen on.")


class TestSettings:
    @pytest.fixture
    async def deps(self, deps: Dependencies) -> Dependencies:
        return msgspec.structs.replace(deps, settings=(SETTING,))

    async def test_settings_are_listed_with_their_source(self, gateway: Gateway) -> None:
        answer = await gateway.get("/api/ops/settings", name="auditor")

        assert answer.json() == {"items": [msgspec.to_builtins(SETTING)]}


async def test_alerts_are_listed_newest_first(gateway: Gateway) -> None:
    controls = ControlLog(gateway.log)
    for category in (Category.LOGIC, Category.RESOURCE):
        alert = RaiseAlert(
            now=CONTEXT.now,
            stage="metadata",
            category=category,
            level="critical",
            code="x",
            error="why",
        )
        now = await gateway.log.now()
        await controls.execute(alert, msgspec.structs.replace(CONTEXT, now=now))

    end = await gateway.log.end(0)
    answer = await gateway.get(f"/api/ops/alerts?limit=10&after={end}", name="auditor")

    found = answer.json()["items"]
    assert [each["category"] for each in found] == ["resource", "logic"]
    assert (found[0]["level"], found[0]["stage"], found[0]["error"]) == (
        "critical",
        "metadata",
        "why",
    )


async def test_open_streams_of_a_client_are_counted(gateway: Gateway) -> None:
    end = (await gateway.upload()).json()["position"]

    async with following(gateway, "client"):
        answer = await gateway.get("/api/ops/clients", name="operator", after=end)

    assert [each["openRequests"] for each in answer.json()["items"]] == [1]


async def test_each_breaker_is_listed_with_its_state(gateway: Gateway) -> None:
    breaker = gateway.log.redis.breaker
    for _ in range(5):
        breaker.note(well=False)

    answer = await gateway.get("/api/ops/breakers", name="auditor")
    for _ in range(5):
        breaker.note(well=True)

    found = {each["name"]: each for each in answer.json()["items"]}
    assert {name: each["state"] for name, each in found.items()} == {
        breaker.name: "open",
        "blobs": "closed",
    }
    assert found[breaker.name]["openings"] == 1
    assert found[breaker.name]["retryAfterMs"] > 0


@pytest.mark.parametrize("path", ["settings", "alerts", "breakers"])
async def test_clients_see_none_of_it(gateway: Gateway, path: str) -> None:
    answer = await gateway.get(f"/api/ops/{path}")

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
