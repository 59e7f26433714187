"""The routes of webhooks: who may see and change which, and what is rejected."""

import time
from typing import Any

import pytest

from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway
from tests.gateway.webhooks.conftest import Webhooks

URL = "https://example.com/photolog"


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, webhooks_per_client=2)


@pytest.fixture
def webhooks(gateway: Gateway) -> Webhooks:
    return Webhooks(gateway)


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_webhook_is_shown_as_it_was_created_without_its_secret(webhooks: Webhooks) -> None:
    made = await webhooks.create(URL, types=["photo.deleted"], description="for the archive")

    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert len(secret) == len("whsec_") + 44
    assert await webhooks.get(made["id"]) == made
    assert (await webhooks.ask("GET")).json() == {"items": [made]}
    assert made == {
        "id": made["id"],
        "url": URL,
        "types": ["photo.deleted"],
        "description": "for the archive",
        "clientId": "alice",
        "createdAt": made["createdAt"],
        "state": "delivering",
        "disabledCause": None,
        "disabledAt": None,
        "disabledReason": None,
        "previousSecretUntil": None,
        "positions": made["positions"],
        "waitingSince": None,
        "failingSince": None,
        "failingReason": None,
        "lastAttemptAt": None,
        "lastStatus": None,
    }


async def test_a_webhook_is_changed_disabled_enabled_and_deleted(webhooks: Webhooks) -> None:
    made = await webhooks.create(URL)
    of_it = f"/{made['id']}"

    changed = await webhooks.ask("PUT", of_it, {"url": f"{URL}/2", "types": ["photo.erased"]})
    disabled = await webhooks.ask("POST", f"{of_it}/disable", {"reason": "too much"})
    again = await webhooks.ask("POST", f"{of_it}/disable")
    enabled = await webhooks.ask("POST", f"{of_it}/enable")
    deleted = await webhooks.ask("DELETE", of_it, reason="not needed")

    assert (changed.json()["url"], changed.json()["types"]) == (f"{URL}/2", ["photo.erased"])
    assert (disabled.json()["state"], disabled.json()["disabledReason"]) == ("disabled", "too much")
    assert again.json() == disabled.json()
    assert (enabled.json()["state"], enabled.json()["disabledReason"]) == ("delivering", None)
    assert deleted.status_code == 204
    assert deleted.headers["X-Log-Position"]
    for method, path in (("GET", ""), ("GET", "/deliveries"), ("DELETE", ""), ("POST", "/secret")):
        answer = await webhooks.ask(method, f"{of_it}{path}")
        assert refused(answer) == (404, "webhook-not-found")


async def test_clients_see_and_change_their_own_alone(webhooks: Webhooks) -> None:
    own = await webhooks.create(URL)
    others = await webhooks.create(URL, name="bob")
    of_system = await webhooks.create(URL, name="operator")
    by_operator = await webhooks.create(URL, name="operator", clientId="bob")

    assert (of_system["clientId"], by_operator["clientId"]) == (None, "bob")
    listed = (await webhooks.ask("GET")).json()["items"]
    assert [each["id"] for each in listed] == [own["id"]]
    everyone = (await webhooks.ask("GET", name="auditor")).json()["items"]
    assert len(everyone) == 4
    bobs = (await webhooks.ask("GET", name="operator", clientId="bob")).json()["items"]
    assert [each["id"] for each in bobs] == [others["id"], by_operator["id"]]
    assert refused(await webhooks.ask("GET", clientId="bob")) == (403, "forbidden")
    for foreign in (others, of_system):
        for method, path, body in (
            ("GET", "", None),
            ("GET", "/deliveries", None),
            ("PUT", "", {"url": URL}),
            ("POST", "/disable", None),
            ("POST", "/enable", None),
            ("POST", "/secret", None),
            ("POST", "/replay", {"after": "0:0-0"}),
            ("DELETE", "", None),
        ):
            answer = await webhooks.ask(method, f"/{foreign['id']}{path}", body)
            assert refused(answer) == (404, "webhook-not-found"), (method, path)
    wish = {"url": URL, "clientId": "bob"}
    assert refused(await webhooks.ask("POST", "", wish)) == (403, "forbidden")


async def test_auditors_change_nothing(webhooks: Webhooks) -> None:
    made = await webhooks.create(URL)

    wish = {"url": URL}
    assert refused(await webhooks.ask("POST", "", wish, name="auditor")) == (403, "forbidden")
    answer = await webhooks.ask("DELETE", f"/{made['id']}", name="auditor")
    assert refused(answer) == (403, "forbidden")


async def test_an_api_key_needs_the_scopes_to_see_and_to_change(
    gateway: Gateway, webhooks: Webhooks
) -> None:
    for name, scopes, client_id in (
        ("reading", ["events.read"], "alice"),
        ("writing", ["events.read", "photos.write"], "alice"),
        ("system", ["events.read", "ops.write"], None),
        ("photos", ["photos.read", "photos.write"], "alice"),
    ):
        answer = await gateway.client.post(
            "/api/keys",
            json={"name": name, "scopes": scopes, "clientId": client_id},
            headers=gateway.bearer("operator"),
        )
        gateway.tokens[name] = answer.json()["key"]
        while (await gateway.get("/api/login", name=name)).status_code != 200:
            pass

    wish = {"url": URL}
    assert refused(await webhooks.ask("POST", "", wish, name="reading")) == (403, "scope-required")
    assert refused(await webhooks.ask("GET", name="photos")) == (403, "scope-required")
    own = await webhooks.create(URL, name="writing")
    of_system = await webhooks.create(URL, name="system")
    assert (own["clientId"], of_system["clientId"]) == ("alice", None)

    keys = (await gateway.get("/api/keys", name="operator")).json()["items"]
    key_id = next(each["id"] for each in keys if each["name"] == "writing")
    staff = gateway.bearer("operator")
    revoked = await gateway.client.delete(f"/api/keys/{key_id}", headers=staff)
    again = await gateway.client.delete(f"/api/keys/{key_id}", headers=staff)
    assert revoked.json() == {"disabledWebhooks": [own["id"]]}
    assert again.json() == {"disabledWebhooks": []}
    ended = await webhooks.get(own["id"])
    assert (ended["state"], ended["disabledCause"]) == ("disabled", "access-revoked")
    enabled = await webhooks.ask("POST", f"/{own['id']}/enable")
    assert enabled.json()["state"] == "delivering"


UNSUITABLE: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"url": "http://example.com/"}, 400, "invalid-webhook"),
    ({"url": "https://10.0.0.1/"}, 400, "invalid-webhook"),
    ({"url": "https://[::1]/"}, 400, "invalid-webhook"),
    ({"url": "https://user:secret@example.com/"}, 400, "invalid-webhook"),
    ({"url": URL, "types": ["photo.eaten"]}, 400, "invalid-webhook"),
    ({"url": URL, "types": ["pipeline.paused"]}, 400, "invalid-webhook"),
    ({"url": URL, "description": "a\u202eb"}, 400, "invalid-webhook"),
    ({"url": URL, "secret": "mine"}, 400, "invalid-request"),
    ({"url": URL, "after": "yesterday"}, 400, "invalid-position"),
    ({"url": URL, "after": "9:0-0"}, 409, "unknown-position"),
    ({"url": URL, "after": "0:99-0"}, 409, "unknown-position"),
    ({}, 400, "invalid-request"),
)


async def test_unsuitable_webhooks_are_rejected(webhooks: Webhooks) -> None:
    for wish, status, code in UNSUITABLE:
        assert refused(await webhooks.ask("POST", "", wish)) == (status, code), wish
    assert (await webhooks.ask("GET")).json() == {"items": []}


async def test_events_of_the_system_are_for_webhooks_without_a_client(webhooks: Webhooks) -> None:
    wish: dict[str, Any] = {"url": URL, "types": ["pipeline.paused", "session.completed"]}
    made = await webhooks.create(URL)

    everyone = await webhooks.create(**wish, name="operator")
    of_alice = await webhooks.ask("POST", "", {**wish, "clientId": "alice"}, name="operator")
    changed = await webhooks.ask("PUT", f"/{made['id']}", wish)

    assert everyone["types"] == wish["types"]
    assert refused(of_alice) == refused(changed) == (400, "invalid-webhook")
    assert (await webhooks.get(made["id"]))["types"] == []


async def test_a_client_may_have_a_bounded_number(webhooks: Webhooks) -> None:
    for _ in range(2):
        await webhooks.create(URL)

    answer = await webhooks.ask("POST", "", {"url": URL})
    assert refused(answer) == (409, "too-many-webhooks")
    await webhooks.create(URL, name="bob")


async def test_a_client_cannot_probe_positions_of_others(
    gateway: Gateway, webhooks: Webhooks
) -> None:
    made = await webhooks.create(URL)
    others = (await gateway.upload(name="bob")).json()["position"]
    own = (await gateway.upload()).json()["position"]
    await gateway.get("/api/photos", after=own)

    answer = await webhooks.ask("POST", f"/{made['id']}/replay", {"after": others})
    assert refused(answer) == (409, "unknown-position")
    answer = await webhooks.ask("POST", f"/{made['id']}/replay", {"after": own})
    assert answer.json()["positions"] == [own]


async def test_deliveries_are_listed_up_to_the_longest_page(webhooks: Webhooks) -> None:
    made = await webhooks.create(URL)

    assert await webhooks.deliveries(made["id"]) == []
    answer = await webhooks.ask("GET", f"/{made['id']}/deliveries", limit="201")
    assert refused(answer) == (400, "invalid-limit")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", {"url": f"{URL}/theirs"}),
        ("POST", "/secret", None),
        ("POST", "/replay", {"after": None}),
    ],
    ids=["change", "rotate", "replay"],
)
async def test_revoking_a_token_stops_a_webhook_that_it_changed(
    gateway: Gateway, webhooks: Webhooks, method: str, path: str, body: Any
) -> None:
    position = (await gateway.upload()).json()["position"]
    await gateway.get("/api/photos", after=position)
    made = await webhooks.create(URL)
    token = gateway.deps.tokens.issue("alice", "client", 600, time.time())
    gateway.tokens["thief"] = token
    wish = {"after": position} if body == {"after": None} else body
    done = await webhooks.ask(method, f"/{made['id']}{path}", wish, name="thief")
    assert done.status_code == 200, done.text

    revoked = await gateway.client.post(
        "/api/ops/tokens/revoke",
        json={"tokenId": gateway.deps.tokens.verify(token).token_id},
        headers=gateway.bearer("operator"),
    )

    assert revoked.json()["disabledWebhooks"] == [made["id"]]
    assert (await webhooks.get(made["id"]))["disabledCause"] == "access-revoked"


async def test_the_positions_of_a_clients_webhook_do_not_show_when_others_are_active(
    gateway: Gateway, webhooks: Webhooks
) -> None:
    own = (await gateway.upload()).json()["position"]
    others = (await gateway.upload(name="bob")).json()["position"]
    await gateway.get("/api/photos", name="bob", after=others)

    made = await webhooks.create(URL)
    everyones = await webhooks.create(URL, name="operator")
    listed = (await webhooks.ask("GET")).json()["items"]
    wish = {"after": made["positions"][0]}
    replayed = await webhooks.ask("POST", f"/{made['id']}/replay", wish)

    assert made["positions"] == listed[0]["positions"] == [own]
    assert everyones["positions"] > [others]
    assert (replayed.status_code, replayed.json()["positions"]) == (200, [own])


@pytest.mark.parametrize("after", [",", "0:0-0,", ",0:0-0", ""])
async def test_a_list_of_positions_has_no_empty_ones(webhooks: Webhooks, after: str) -> None:
    answer = await webhooks.ask("POST", "", {"url": URL, "after": after})

    assert answer.status_code == 400
