"""A log that is nearly full takes what ends work and access, and one that is full still does."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway.http.rate_limits import ByRole, RateLimits
from store.redis.connection import Client, connect
from tests.gateway.conftest import DEADLINE_S, Gateway
from tests.gateway.processing import fail
from tests.gateway.tasks import dispatch
from tests.servers import DEBIAN_REDIS, unavailable, valkey

URL = "https://example.com/"
UNLIMITED = ByRole(None, None, None)


@pytest.fixture
def binary() -> str | None:
    """The server: parametrize a test to change it."""
    return None


@pytest.fixture
async def redis(own_folder: Path, binary: str | None) -> AsyncGenerator[Client]:
    """A server of the test's own, whose memory it limits."""
    if binary is not None and not Path(binary).exists():
        unavailable(f"no {binary} on this machine: apt-get install redis-server")
    with valkey(own_folder, "--appendonly", "no", "--save", "", binary=binary) as url:
        client = connect(url)
        yield client
        await client.aclose()


@pytest.fixture
def rates() -> RateLimits:
    return RateLimits(rate_webhook_changes=UNLIMITED, rate_webhook_changes_per_address=None)


async def leave(gateway: Gateway, used_percent: float) -> None:
    """Give the server so much memory that it uses this share of it, and let the gateway know."""
    await fill(gateway, used_percent)
    with anyio.fail_after(DEADLINE_S):
        while (await gateway.client.get("/health")).json()["checks"]["redis"]["status"] == "ok":
            await anyio.sleep(0.05)


async def fill(gateway: Gateway, used_percent: float) -> None:
    redis: Any = gateway.log.redis
    filler = gateway.log.keys.settled(0)
    await redis.setrange(filler, 32 << 20, b"x")  # so large that connections hardly matter
    used = (await redis.info("memory"))["used_memory"]
    await redis.config_set("maxmemory", str(int(100 * used / used_percent)))


async def ask(
    gateway: Gateway, method: str, path: str, body: Any = None, name: str = "alice"
) -> httpx.Response:
    return await gateway.client.request(method, path, json=body, headers=gateway.bearer(name))


async def webhook(gateway: Gateway, name: str = "alice") -> str:
    answer = await ask(gateway, "POST", "/api/webhooks", {"url": URL}, name)
    assert answer.status_code == 201, answer.text
    return f"/api/webhooks/{answer.json()['id']}"


async def api_key(gateway: Gateway) -> str:
    wish = {"name": "a program", "scopes": ["photos.read"], "clientId": "bob"}
    answer = await ask(gateway, "POST", "/api/keys", wish, "operator")
    return f"/api/keys/{answer.json()['id']}"


async def test_every_command_that_makes_the_log_grow_is_rejected_while_it_is_nearly_full(
    gateway: Gateway,
) -> None:
    failed = (await gateway.upload(sessionId="trip")).json()
    end = await fail(gateway, failed)
    waiting = (await gateway.upload()).json()
    await gateway.get("/api/photos", after=waiting["position"])
    job, photo = f"/api/ops/jobs/{waiting['jobId']}", f"/api/photos/{waiting['photoId']}"
    mine, disabled = await webhook(gateway), await webhook(gateway)
    await ask(gateway, "POST", f"{disabled}/disable")
    await leave(gateway, 95)

    cases: tuple[tuple[str, str, Any, str], ...] = (
        ("POST", f"{photo}/reprocess", None, "alice"),
        ("POST", "/api/photos/retry", {"sessionId": "trip"}, "alice"),
        ("PUT", "/api/sessions/another", {}, "alice"),
        ("PUT", "/api/sessions/trip", {"expected": 7}, "alice"),
        ("POST", "/api/webhooks", {"url": URL}, "alice"),
        ("POST", "/api/webhooks", {"url": URL}, "operator"),
        ("PUT", mine, {"url": f"{URL}2"}, "alice"),
        ("POST", f"{disabled}/enable", None, "alice"),
        ("POST", f"{mine}/secret", None, "alice"),
        ("POST", f"{mine}/replay", {"after": end}, "alice"),
        ("POST", "/api/keys", {"name": "key", "scopes": ["ops.read"]}, "operator"),
        ("PUT", f"{job}/priority", {"priority": 9}, "operator"),
        ("POST", f"/api/ops/jobs/{failed['jobId']}/retry", {}, "operator"),
        ("POST", "/api/ops/dead-letters/retry", {"all": True}, "operator"),
        ("POST", "/api/ops/backfill", {"stage": "placeholder", "run": "r"}, "operator"),
        ("POST", "/api/ops/projections/rebuild", {"reason": "new"}, "operator"),
    )
    before = await gateway.log.end(0)
    answers = [(await ask(gateway, *case), case) for case in cases]
    answers.append((await gateway.upload(), ("POST", "upload", None, "alice")))

    for answer, case in answers:
        assert (answer.status_code, answer.json().get("code")) == (507, "log-full"), case
    assert await gateway.log.end(0) == before


async def test_what_ends_work_or_access_is_accepted_while_the_log_is_nearly_full(
    gateway: Gateway,
) -> None:
    first, last = (await gateway.upload(sessionId="trip")).json(), (await gateway.upload()).json()
    await dispatch(gateway)
    await gateway.get("/api/photos", after=last["position"])
    hook, other, key = await webhook(gateway), await webhook(gateway), await api_key(gateway)
    await leave(gateway, 95)

    for case in (
        ("PUT", "/api/sessions/trip", {"status": "closed"}, "alice"),
        ("POST", f"{hook}/disable", None, "alice"),
        ("DELETE", other, None, "alice"),
        ("DELETE", f"/api/photos/{first['photoId']}", None, "alice"),
        ("POST", f"/api/ops/jobs/{last['jobId']}/cancel", {"reason": "full"}, "operator"),
        ("POST", "/api/ops/queues/placeholder/pause", None, "operator"),
        ("POST", "/api/ops/queues/placeholder/resume", None, "operator"),
        ("PUT", "/api/ops/queues/placeholder/limits", {"concurrency": 1}, "operator"),
        ("PUT", "/api/ops/clients/bob/quota", {"photos": 7}, "operator"),
        ("DELETE", key, None, "operator"),
        ("POST", "/api/ops/tokens/revoke", {"clientId": "alice"}, "operator"),
    ):
        answer = await ask(gateway, *case)
        assert answer.status_code in (200, 204), (case, answer.text)
        assert answer.headers["X-Log-Position"], case


async def test_one_client_cannot_use_the_room_that_deletions_and_revocations_need(
    gateway: Gateway,
) -> None:
    photo, mine = (await gateway.upload(name="bob")).json(), await webhook(gateway)
    key, of_bob = await api_key(gateway), await webhook(gateway, "bob")
    redis: Any = gateway.log.redis
    await fill(gateway, 89.8)
    filling = 0
    with anyio.fail_after(3 * DEADLINE_S):
        while True:
            wish = {"url": f"{URL}{filling}/{'a' * 900}"}
            if (answer := await ask(gateway, "PUT", mine, wish)).status_code != 200:
                break
            filling += 1
    assert (answer.status_code, answer.json()["code"]) == (507, "log-full")
    assert filling > 1

    # Results of accepted work may use the rest, until the server itself rejects writes.
    await redis.config_set("maxmemory", "1")
    upload = await gateway.upload(name="bob")
    deleted = await ask(gateway, "DELETE", f"/api/photos/{photo['photoId']}", None, "bob")
    disabled = await ask(gateway, "POST", f"{of_bob}/disable", None, "bob")
    removed = await ask(gateway, "DELETE", mine, None, "operator")
    ended = await ask(gateway, "DELETE", key, None, "operator")
    wish = {"clientId": "alice", "reason": "fills the log"}
    revoked = await ask(gateway, "POST", "/api/ops/tokens/revoke", wish, "operator")

    assert (upload.status_code, upload.json()["code"]) == (507, "log-full")
    codes = [each.status_code for each in (deleted, disabled, removed, ended, revoked)]
    assert codes == [204, 200, 204, 200, 200]
    assert (await ask(gateway, "GET", "/api/me")).json()["code"] == "revoked-token"


@pytest.mark.parametrize("binary", [None, DEBIAN_REDIS], ids=["valkey", "redis"])
async def test_a_revocation_succeeds_although_redis_is_full_and_lost_the_state_of_the_controls(
    gateway: Gateway,
) -> None:
    await webhook(gateway)
    redis: Any = gateway.log.redis
    await redis.delete(gateway.log.keys.pipeline(0))
    await redis.config_set("maxmemory", "1")

    wish = {"clientId": "alice", "reason": "fills the log"}
    revoked = await ask(gateway, "POST", "/api/ops/tokens/revoke", wish, "operator")

    assert revoked.status_code == 200, revoked.text


class TestWebhookChanges:
    """Changes of webhooks have a limit of their own, because each is an event that stays."""

    @pytest.fixture
    def rates(self) -> RateLimits:
        return RateLimits()

    async def test_a_client_makes_few_of_them_and_can_still_stop_its_webhooks(
        self, gateway: Gateway
    ) -> None:
        mine, of_bob = await webhook(gateway), await webhook(gateway, "bob")
        changes = [
            (await ask(gateway, "PUT", mine, {"url": f"{URL}{number}"})).status_code
            for number in range(60)
        ]
        again = await ask(gateway, "POST", f"{mine}/secret")

        assert changes == [200] * 59 + [429]
        assert "The limit webhook-changes of this client" in again.json()["detail"]
        assert (await ask(gateway, "POST", f"{mine}/disable")).status_code == 200
        assert (await ask(gateway, "DELETE", mine)).status_code == 204
        assert (await ask(gateway, "PUT", of_bob, {"url": f"{URL}2"}, "bob")).status_code == 200
