"""What health says about the delivery of webhooks."""

from typing import Any

import msgspec
import pytest

from domain.webhooks.webhooks import DisableWebhook
from gateway.http.limits import Limits
from store.log.control import ControlLog
from store.webhooks.lease import Lease, Report
from tests.conftest import CONTEXT
from tests.gateway.conftest import Gateway
from tests.gateway.webhooks.conftest import Webhooks


@pytest.fixture
def limits() -> Limits:
    return Limits(degraded_webhooks_s=60.0)


async def check(gateway: Gateway) -> dict[str, Any]:
    return (await gateway.client.get("/health")).json()["checks"]["webhooks"]


async def test_health_says_whether_webhooks_are_delivered_and_how_late(gateway: Gateway) -> None:
    """A client's receivers are only counted: clients choose them themselves."""
    webhooks, lease = Webhooks(gateway), Lease(gateway.log, "webhooks-1")
    assert await check(gateway) == {"status": "ok"}

    own = await webhooks.create("https://example.com/")
    assert await check(gateway) == {
        "status": "degraded",
        "reason": "no process delivers webhooks",
    }
    late = Report(behind_ms=90_000, failing=1)
    await lease.take(late)
    assert await check(gateway) == {"status": "ok", "behindMs": 90_000, "failing": 1}
    await lease.take(msgspec.structs.replace(late, system_behind_ms=61_000, unsigned=2))
    trouble = await check(gateway)
    assert trouble["status"] == "degraded"
    assert "a webhook of the system is 61 s behind" in trouble["reason"]
    assert "2 secrets were made with another key" in trouble["reason"]
    await lease.take(Report())

    of_system = await webhooks.create("https://example.com/", name="operator")
    controls = ControlLog(gateway.log)
    await controls.execute(DisableWebhook(webhook_id=own["id"], cause="gone"), CONTEXT)
    assert await check(gateway) == {"status": "ok", "disabled": 1}
    await controls.execute(DisableWebhook(webhook_id=of_system["id"], cause="exhausted"), CONTEXT)
    trouble = await check(gateway)
    assert (trouble["status"], trouble["disabled"]) == ("degraded", 2)
    assert trouble["reason"].startswith("a webhook of the system was disabled")
