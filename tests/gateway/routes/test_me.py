"""``GET /api/me``: the caller's identity, quota and rate limits."""

from datetime import datetime

import pytest

from gateway.http.rate_limits import Allowance, ByRole, RateLimits
from tests.gateway.conftest import Gateway, served


@pytest.fixture
def rates() -> RateLimits:
    hourly = Allowance(10, 3_600)
    return RateLimits(
        rate_commands=ByRole(hourly, None, None),
        rate_uploads=ByRole(hourly, hourly, None),
        rate_upload_bytes=ByRole(Allowance(10_000, 3_600), None, None),
    )


async def test_it_shows_the_client_of_the_token(gateway: Gateway) -> None:
    answer = await gateway.get("/api/me", name="auditor")

    identity = answer.json()["identity"]
    assert (identity["clientId"], identity["role"]) == ("auditor", "auditor")
    assert identity["scopes"] == ["audit.read", "events.read", "ops.read", "photos.read"]
    assert identity["apiKey"] is None
    ends = datetime.fromisoformat(identity["expiresAt"])
    assert 3_500 < identity["expiresInS"] <= 3_600
    assert ends.tzinfo is not None


async def test_it_shows_what_is_left_of_each_limit_across_gateways(gateway: Gateway) -> None:
    await gateway.upload()
    async with served(gateway.deps) as other:
        for _ in range(3):
            await other.client.delete("/api/photos/unknown")

        limits = {each["policy"]: each for each in (await gateway.get("/api/me")).json()["limits"]}

    assert limits.keys() == {
        "requests",
        "uploads",
        "upload-bytes",
        "commands",
        "streams",
        "webhook-changes",
    }
    assert limits["commands"]["remaining"] == 7
    assert limits["uploads"]["remaining"] == 9
    assert (limits["commands"]["quota"], limits["commands"]["windowS"]) == (10, 3_600)
    assert 0 < limits["commands"]["fullInS"] <= 3 * 360
    assert limits["upload-bytes"]["unit"] == "bytes"
    assert 9_000 < limits["upload-bytes"]["remaining"] < 10_000


async def test_a_role_without_limits_sees_none(gateway: Gateway) -> None:
    answer = await gateway.get("/api/me", name="operator")

    policies = [each["policy"] for each in answer.json()["limits"]]
    assert "commands" not in policies
    assert "uploads" in policies


async def test_it_needs_a_token(gateway: Gateway) -> None:
    del gateway.client.headers["Authorization"]

    answer = await gateway.client.get("/api/me")

    assert answer.json()["code"] == "missing-token"
