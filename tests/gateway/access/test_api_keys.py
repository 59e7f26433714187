"""API keys: what they allow, how they end, and that their secrets are kept nowhere."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest

from gateway.access.route_scopes import ANYONE, NEEDS, NOT_FOR_KEYS, PUBLIC
from gateway.http import api_keys
from gateway.http.rate_limits import Allowance, ByRole, RateLimits
from store.log.log import Log
from tests.gateway.access.test_route_scopes import HTTP_ROUTES, REFUSED, status
from tests.gateway.conftest import DEADLINE_S, Gateway
from tests.gateway.listeners import talking


async def create(gateway: Gateway, who: str = "operator", **wish: Any) -> httpx.Response:
    wish = {"name": "backup", "scopes": ["photos.read"], "clientId": "alice", **wish}
    return await gateway.client.post("/api/keys", json=wish, headers=gateway.bearer(who))


async def key(gateway: Gateway, **wish: Any) -> dict[str, Any]:
    """Create a key; tests find it as the token ``key`` of the gateway."""
    answer = await create(gateway, **wish)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    gateway.tokens["key"] = made["key"]
    return made


async def listed(gateway: Gateway) -> list[dict[str, Any]]:
    answer = await gateway.get("/api/keys", name="operator")
    assert answer.status_code == 200
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def until_known(gateway: Gateway) -> None:
    with anyio.fail_after(DEADLINE_S):
        while (await gateway.get("/api/login", name="key")).status_code != 200:
            await anyio.sleep(0.02)


async def test_a_key_acts_for_its_client_within_its_scopes(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    others = (await gateway.upload(name="bob")).json()
    made = await key(gateway)

    assert (await gateway.get(f"/api/photos/{photo['photoId']}/history", name="key")).is_success
    hidden = await gateway.get(f"/api/photos/{others['photoId']}/history", name="key")
    assert (hidden.status_code, hidden.json()["code"]) == (404, "photo-not-found")
    refused = await gateway.upload(name="key")
    assert (refused.status_code, refused.json()["code"]) == (403, "scope-required")
    assert 'scope="photos.write"' in refused.headers["WWW-Authenticate"]
    login = (await gateway.get("/api/login", name="key")).json()
    assert login == {
        "clientId": "alice",
        "name": None,
        "role": "client",
        "scopes": ["photos.read"],
        "tokenId": f"key-{made['id']}",
        "expiresInS": None,
        "provider": None,
    }


async def test_a_route_that_is_closed_to_keys_advises_to_use_a_token(gateway: Gateway) -> None:
    made = await key(gateway, scopes=["ops.read"], clientId=None)
    await until_known(gateway)

    answer = await gateway.client.delete(f"/api/keys/{made['id']}", headers=gateway.bearer("key"))

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (403, "scope-required")
    assert problem["detail"] == "API keys may not do this, whatever their scopes."
    assert problem["advice"] == "Use a token instead of the API key."


async def test_a_key_is_told_its_own_scopes_and_id(gateway: Gateway) -> None:
    made = await key(gateway, scopes=["ops.read", "audit.read"], clientId=None)
    await until_known(gateway)

    identity = (await gateway.get("/api/me", name="key")).json()["identity"]

    assert identity["scopes"] == ["audit.read", "ops.read"]
    assert identity["apiKey"] == made["id"]


async def test_a_photo_uploaded_with_a_key_names_the_key_as_its_actor(gateway: Gateway) -> None:
    made = await key(gateway, scopes=["photos.write", "photos.read"])

    answer = await gateway.upload(name="key")

    path = f"/api/photos/{answer.json()['photoId']}/history"
    history = await gateway.get(path, after=answer.headers["X-Log-Position"])
    assert history.json()["items"][-1]["metadata"]["actor"] == f"client:alice+key-{made['id']}"


@pytest.mark.parametrize(
    ("scopes", "client"),
    [
        (["photos.read"], "alice"),
        (["photos.write"], "alice"),
        (["events.read"], "alice"),
        (["ops.read"], None),
        (["ops.write"], None),
        (["audit.read"], None),
        (["events.read"], None),
        (["ops.read", "ops.write"], None),
    ],
)
async def test_a_key_reaches_the_routes_of_its_scopes_alone(
    gateway: Gateway, scopes: list[str], client: str | None
) -> None:
    made = await key(gateway, scopes=scopes, clientId=client)

    for route in HTTP_ROUTES:
        need = NEEDS[route]
        allowed = need in (PUBLIC, ANYONE, *scopes) and route not in NOT_FOR_KEYS
        # Writing routes without parameters of their own reject the unknown parameter first.
        if route in ("POST /api/login", "POST /api/login/preview"):
            continue  # these compare the token themselves
        got = await status(gateway, route, f"Bearer {made['key']}")
        assert (got not in REFUSED) == allowed, (route, got)
    async with talking(gateway, name="key") as talk:
        if "events.read" in scopes:
            assert (await talk.ask("identify"))["type"] == "identified"
        else:
            assert await talk.closed() == (4403, "scope-required")


async def test_a_key_with_ops_write_changes_the_system_under_its_own_name(
    gateway: Gateway,
) -> None:
    made = await key(gateway, scopes=["ops.write"], clientId=None)

    paused = await gateway.client.post(
        "/api/ops/queues/metadata/pause", headers=gateway.bearer("key")
    )

    assert paused.status_code == 200
    audit = await gateway.get("/api/audit", name="operator", after=paused.headers["X-Log-Position"])
    assert audit.json()["items"][0]["actor"] == f"operator:key-{made['id']}"


async def test_an_api_key_signs_no_browser_in(gateway: Gateway) -> None:
    await key(gateway)

    for path in ("/api/login", "/api/login/preview"):
        answer = await gateway.client.post(path, headers=gateway.bearer("key"))
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-token")
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("name", ["alice", "auditor"])
async def test_only_operators_manage_keys(gateway: Gateway, name: str) -> None:
    made = await key(gateway)

    revoked = await gateway.client.delete(f"/api/keys/{made['id']}", headers=gateway.bearer(name))

    assert (await create(gateway, name)).status_code == 403
    assert revoked.status_code == 403
    assert len(await listed(gateway)) == 1


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"scopes": ["ops.read"]}, "ops.read"),
        ({"clientId": None}, "photos.read"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["photos.*"]}, "photos.*"),
        ({"name": ""}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"clientId": "al*ce"}, "clientId"),
        ({"clientId": "аlice"}, "clientId"),  # a Cyrillic letter
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "past"),
        ({"expiresAt": "2999-01-01T00:00:00"}, "expiresAt"),
        ({"expiresAt": "9999-12-31T23:59:59-23:59"}, "ten years"),
        ({"expiresAt": "0001-01-01T00:00:00+23:59"}, "past"),
        ({"role": "operator"}, "role"),
    ],
)
async def test_an_invalid_key_is_rejected(
    shared_gateway: Gateway, wish: dict[str, Any], told: str
) -> None:
    answer = await create(shared_gateway, **wish)

    assert answer.status_code == 400
    assert answer.json()["code"] in ("invalid-key", "invalid-request")
    assert told in answer.json()["detail"]
    assert await listed(shared_gateway) == []


async def test_keys_are_listed_without_their_secrets(gateway: Gateway) -> None:
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="milliseconds")
    made = await key(gateway, expiresAt=expires, name="Größe 📷")
    secret = made["key"]
    assert api_keys.id_of(secret) == made["id"]

    assert (await gateway.get("/api/photos", name="key")).status_code == 200

    with anyio.fail_after(DEADLINE_S):
        while (found := (await listed(gateway))[0])["lastUsedAt"] is None:
            await anyio.sleep(0.05)
    assert found["name"] == "Größe 📷"
    assert datetime.fromisoformat(found["expiresAt"]) == datetime.fromisoformat(expires)
    assert found["scopes"] == ["photos.read"]
    assert secret not in str(found)


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_the_last_use_of_a_key_is_known_once_it_has_ended(gateway: Gateway, how: str) -> None:
    expires = None if how == "revoked" else datetime.now(UTC) + timedelta(seconds=3)
    made = await key(gateway, expiresAt=expires and expires.isoformat())
    await until_known(gateway)
    with anyio.fail_after(DEADLINE_S):
        while (first := (await listed(gateway))[0]["lastUsedAt"]) is None:
            await anyio.sleep(0.02)

    # Within a minute of the use that was written.
    assert (await gateway.get("/api/photos", name="key")).status_code == 200
    if how == "revoked":
        await gateway.client.delete(f"/api/keys/{made['id']}", headers=gateway.bearer("operator"))

    with anyio.fail_after(DEADLINE_S):
        while True:
            answer = await gateway.get("/api/keys/ended", name="operator")
            ended = {each["id"]: each for each in answer.json()["items"]}.get(made["id"])
            if ended is not None and ended["lastUsedAt"] > first:
                break
            await anyio.sleep(0.02)
    assert ended["lastUsedAt"] < ended["endedAt"]
    assert await listed(gateway) == []


CHANGES: list[Callable[[str], str]] = [
    lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
    lambda key: key.upper(),
    lambda key: key + "0",
    lambda key: key[:-1],
    lambda key: key.replace("plk_", "plk_0", 1),
    lambda key: f"plk_{'0' * 12}_{key.rpartition('_')[2]}",
    lambda key: f"{key} {key}",
    lambda _: "plk_",
    lambda _: "plk_" + "a" * 5000,
    lambda key: key[:-1] + "\u00b2",  # a digit to some libraries
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_wrong_key_is_rejected(gateway: Gateway, change: Callable[[str], str]) -> None:
    made = await key(gateway)
    wrong = f"Bearer {change(made['key'])}".encode("latin-1")

    answer = await gateway.client.get("/api/photos", headers={b"Authorization": wrong})

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid-token")


class TestGuessing:
    @pytest.fixture
    def rates(self) -> RateLimits:
        return RateLimits(
            rate_sign_in_failures=Allowance(20, 3600),
            rate_anonymous_per_address=Allowance(10_000, 60),
        )

    async def test_many_wrong_keys_are_limited_while_a_right_one_works(
        self, gateway: Gateway, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        made = await key(gateway)
        wrong = [f"plk_{made['id']}_{number:048x}" for number in range(300)]

        answers = [
            (
                await gateway.client.get("/api/photos", headers={"Authorization": f"Bearer {each}"})
            ).status_code
            for each in wrong
        ]

        assert set(answers) == {401, 429}
        assert answers.count(401) <= 21
        assert (await gateway.get("/api/photos", name="key")).status_code == 200
        assert made["key"] not in caplog.text
        assert not any(each in caplog.text for each in wrong)


class TestRates:
    @pytest.fixture
    def rates(self) -> RateLimits:
        few = Allowance(5, 3600)
        return RateLimits(rate_requests=ByRole(few, None, None))

    async def test_the_requests_of_a_key_count_for_its_client(self, gateway: Gateway) -> None:
        await key(gateway)
        for _ in range(5):
            assert (await gateway.get("/api/login", name="key")).status_code == 200

        for name in ("key", "alice"):
            answer = await gateway.get("/api/login", name=name)
            assert (answer.status_code, answer.json()["code"]) == (429, "rate-limited")
        assert (await gateway.get("/api/login", name="bob")).status_code == 200


async def test_redis_holds_no_key(gateway: Gateway, log: Log) -> None:
    made = await key(gateway)
    redis: Any = log.redis

    values = repr([await redis.xrange(log.keys.log(0)), await redis.hgetall(log.keys.pipeline(0))])

    assert made["key"] not in values
    assert made["key"].rpartition("_")[2] not in values
    assert api_keys.digest_of(made["key"]) in values
