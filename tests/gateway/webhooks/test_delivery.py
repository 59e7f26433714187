"""Deliveries from the log to real receivers: what arrives, in which order, and what survives."""

import asyncio
import time

import anyio
import msgspec
import pytest

from domain.system_events import OF_NO_PHOTO
from gateway.webhooks.secrets import WebhookSecrets
from store.webhooks.lease import PARTITION
from tests.conftest import one_and_three
from tests.gateway.conftest import DEADLINE_S, Gateway, until
from tests.gateway.webhooks.conftest import BOUNDS, Delivering, Webhooks
from tests.gateway.webhooks.events import told, upload
from tests.gateway.webhooks.receivers import OK, Receiver, Request, receiving, status


async def delete(gateway: Gateway, photo_id: str) -> None:
    answer = await gateway.client.delete(f"/api/photos/{photo_id}")
    assert answer.is_success, answer.text


async def test_an_event_arrives_as_a_signed_cloud_event(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url())
    photo_id = await upload(gateway)

    async with delivering():
        (request,) = await receiver.until(1)

    event = request.event
    history = (await gateway.get(f"/api/photos/{photo_id}/history")).json()["items"][0]
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert request.headers["user-agent"] == "Photolog/test"
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < DEADLINE_S
    assert request.is_signed_by(made["secret"])
    assert not request.is_signed_by("whsec_" + "A" * 43 + "=")
    assert event["specversion"] == "1.0"
    assert event["id"] == request.position == history["id"]
    assert event["source"].startswith("urn:uuid:")
    assert (event["type"], event["subject"]) == ("photo.uploaded", photo_id)
    assert (event["time"], event["data"]) == (history["timestamp"], history["data"])
    assert (event["clientid"], event["partitionkey"]) == ("alice", photo_id)
    names = set(event) - {"specversion", "datacontenttype", "data"}
    assert all(name.isalnum() and name == name.lower() for name in names)


async def test_a_webhook_gets_its_clients_events_of_its_types_alone(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    async with receiving() as everything, delivering():
        await webhooks.create(receiver.url(), types=["photo.deleted"])
        await webhooks.create(everything.url(), name="operator")
        own, others = await upload(gateway), await upload(gateway, name="bob")
        await delete(gateway, own)

        await everything.until(4)
        await receiver.until(1)

    assert told(receiver.requests) == [("photo.deleted", own)]
    assert ("photo.uploaded", others) in told(everything.requests)
    assert ("webhook.created", "") in told(everything.requests)


async def test_the_gateways_read_model_has_what_an_event_says(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    found: list[int] = []

    async def fetch(request: Request) -> bytes:
        answer = await gateway.get(f"/api/photos/{request.event['subject']}")
        found.append(answer.status_code)
        return OK

    receiver.answer = fetch
    await webhooks.create(receiver.url())
    async with delivering():
        for _ in range(5):
            await upload(gateway)
        await receiver.until(5)

    assert found == [200] * 5


async def test_a_failing_event_is_retried_and_keeps_back_its_photo_alone(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url())
    poisoned = await upload(gateway)
    await delete(gateway, poisoned)
    healthy = await upload(gateway)
    attempts = iter([503, 301, 500])
    receiver.answer = lambda request: (
        status(next(attempts, 200), body=b"not now") if request.event["subject"] == poisoned else OK
    )

    async with delivering():
        await receiver.until(6)
        reached = await webhooks.until(made["id"], waitingSince=None, state="delivering")

    of_poisoned = [each for each in told(receiver.requests) if each[1] == poisoned]
    assert of_poisoned == [("photo.uploaded", poisoned)] * 4 + [("photo.deleted", poisoned)]
    assert told(receiver.requests).index(("photo.uploaded", healthy)) < 4
    ids = {each.position for each in receiver.requests if each.event["subject"] == poisoned}
    assert len(ids) == 2
    assert (reached["lastStatus"], reached["failingReason"]) == (200, None)
    deliveries = await webhooks.deliveries(made["id"])
    assert len(deliveries) == 6
    failed = [each for each in reversed(deliveries) if each["outcome"] == "rejected"]
    assert [(each["status"], each["attempt"]) for each in failed] == [
        *((503, 1), (301, 2), (500, 3))
    ]
    assert failed[0]["answer"] == "not now"
    assert failed[0]["nextAttemptAt"] is not None
    delivered = [each for each in deliveries if each["outcome"] == "delivered"]
    assert [each["nextAttemptAt"] for each in delivered] == [None] * 3


async def test_410_disables_a_webhook_and_enabling_it_loses_nothing(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url())
    receiver.answer = lambda _: status(410, body=b"moved away")

    async with delivering():
        first = await upload(gateway)
        disabled = await webhooks.until(made["id"], state="disabled")
        second = await upload(gateway)
        assert disabled["disabledCause"] == "gone"
        assert disabled["disabledReason"].endswith("the receiver answered 410")
        receiver.answer = lambda _: OK
        answer = await webhooks.ask("POST", f"/{made['id']}/enable")
        assert answer.status_code == 200, answer.text
        await receiver.until(3)

    assert told(receiver.requests) == [("photo.uploaded", each) for each in (first, first, second)]
    audit = (await gateway.get("/api/audit", name="auditor")).json()["items"]
    acts = [(each["what"], each["actor"]) for each in audit if "webhook" in each["what"]]
    assert acts == [
        ("webhook.enabled", "client:alice"),
        ("webhook.disabled", "webhooks"),
        ("webhook.created", "client:alice"),
    ]


async def test_a_webhook_is_disabled_when_the_time_for_retries_is_over(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url())
    receiver.answer = lambda _: status(500)
    bounds = msgspec.structs.replace(BOUNDS, webhook_retry_for_s=0.2)

    async with delivering(bounds):
        photo_id = await upload(gateway)
        disabled = await webhooks.until(made["id"], state="disabled")
        failures = len(receiver.requests)
        receiver.answer = lambda _: OK
        await webhooks.ask("POST", f"/{made['id']}/enable", {"reason": "mended"})
        await receiver.until(failures + 1)
        await webhooks.until(made["id"], state="delivering", waitingSince=None)

    assert disabled["disabledCause"] == "exhausted"
    assert failures >= 3
    assert told(receiver.requests[-1:]) == [("photo.uploaded", photo_id)]


async def test_one_receiver_that_hangs_delays_no_other(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    let_go = anyio.Event()

    async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await let_go.wait()

    async with receiving() as hanging:
        hanging.behave = hang
        slow = await webhooks.create(hanging.url())
        await webhooks.create(receiver.url())
        for _ in range(10):
            await upload(gateway)
        patient = msgspec.structs.replace(BOUNDS, webhook_timeout_s=6 * DEADLINE_S)
        async with delivering(patient) as deliverer:
            await receiver.until(10)
            await until(lambda: hanging.connections > 0, "a request that hangs")
            assert hanging.connections <= BOUNDS.webhook_concurrency
            let_go.set()
            failing = await webhooks.until(slow["id"], state="failing")
            assert deliverer.report.failing == 1

    assert failing["lastStatus"] is None
    assert failing["failingReason"].startswith("unreachable: ")
    assert failing["waitingSince"] is not None
    assert (await webhooks.deliveries(slow["id"]))[0]["outcome"] == "unreachable"


async def test_both_secrets_sign_after_a_rotation(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url())
    rotated = (await webhooks.ask("POST", f"/{made['id']}/secret")).json()

    async with delivering():
        await upload(gateway)
        (request,) = await receiver.until(1)

    assert rotated["secret"] != made["secret"]
    assert request.is_signed_by(rotated["secret"])
    assert request.is_signed_by(made["secret"])
    shown = await webhooks.get(made["id"])
    assert shown["previousSecretUntil"] == rotated["previousUntil"]


async def test_a_replay_sends_again_what_follows_the_position(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url())
    async with delivering():
        for _ in range(3):
            await upload(gateway)
        first, *rest = [each.position for each in await receiver.until(3)]
        answer = await webhooks.ask("POST", f"/{made['id']}/replay", {"after": first})
        assert answer.status_code == 200, answer.text
        await receiver.until(5)

        again = [each.position for each in receiver.requests[3:]]
        assert again == rest
        reached = await webhooks.until(made["id"], waitingSince=None)
        assert reached["positions"] == [rest[-1]]


async def test_a_webhook_may_begin_with_events_of_the_past(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    photo_id = await upload(gateway)
    await gateway.get("/api/photos", after=(await gateway.upload()).json()["position"])
    await webhooks.create(receiver.url(), after="0:0-0")

    async with delivering():
        await receiver.until(2)

    assert told(receiver.requests)[0] == ("photo.uploaded", photo_id)


async def test_nothing_is_sent_with_the_wrong_secret(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url())
    await upload(gateway)

    async with delivering(secrets=WebhookSecrets(b"another key of webhooks " * 2)) as deliverer:
        with anyio.fail_after(DEADLINE_S):
            while deliverer.report.unsigned == 0:
                await anyio.sleep(0.01)
        await webhooks.until(made["id"], state="unsigned")
    assert receiver.connections == 0

    async with delivering():
        await receiver.until(1)
        await webhooks.until(made["id"], state="delivering")


async def test_a_deleted_webhook_leaves_nothing_behind(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url())
    keys, redis = gateway.log.keys, gateway.log.redis
    mine = keys.webhook(PARTITION, made["id"]), keys.deliveries(PARTITION, made["id"])
    async with delivering():
        await upload(gateway)
        await receiver.until(1)
        await webhooks.until(made["id"], lastStatus=200)
        assert await redis.exists(*mine) == 2
        assert (await webhooks.ask("DELETE", f"/{made['id']}", reason="done")).status_code == 204
        with anyio.fail_after(DEADLINE_S):
            while await redis.exists(*mine):
                await anyio.sleep(0.01)
        await upload(gateway)

    assert len(receiver.requests) == 1
    assert (await webhooks.ask("GET", f"/{made['id']}")).status_code == 404


@pytest.mark.parametrize("is_delivering", [True, False])
async def test_a_webhook_that_was_disabled_before_it_was_deleted_leaves_nothing_behind(
    gateway: Gateway,
    webhooks: Webhooks,
    delivering: Delivering,
    receiver: Receiver,
    is_delivering: bool,
) -> None:
    made = await webhooks.create(receiver.url())
    keys, redis = gateway.log.keys, gateway.log.redis
    mine = keys.webhook(PARTITION, made["id"]), keys.deliveries(PARTITION, made["id"])
    receiver.answer = lambda _: status(410)

    async def delete_it() -> None:
        assert (await webhooks.ask("DELETE", f"/{made['id']}")).status_code == 204
        with anyio.fail_after(DEADLINE_S):
            while await redis.exists(*mine):
                await anyio.sleep(0.01)

    async with delivering():
        await upload(gateway)
        await webhooks.until(made["id"], state="disabled")
        assert await redis.exists(*mine) == 2
        if is_delivering:
            await delete_it()
    if not is_delivering:
        await delete_it()


async def test_secrets_are_in_no_event_list_or_log_line(
    gateway: Gateway,
    webhooks: Webhooks,
    delivering: Delivering,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    made = await webhooks.create(receiver.url())
    rotated = (await webhooks.ask("POST", f"/{made['id']}/secret")).json()
    receiver.answer = lambda _: status(410)
    async with delivering():
        await upload(gateway)
        await webhooks.until(made["id"], state="disabled")

    listed = (await webhooks.ask("GET", name="operator")).text
    stored = [each.body async for each in gateway.log.scan(0)]
    for secret in (made["secret"], rotated["secret"]):
        key = secret.removeprefix("whsec_")
        assert key not in listed
        assert key not in caplog.text
        assert not any(key.encode() in body for body in stored)
    system = [
        e for e in [x.event async for x in gateway.log.scan(0)] if e.data.photo_id == OF_NO_PHOTO
    ]
    assert len(system) == 3


@one_and_three
async def test_a_webhook_of_the_system_gets_the_events_of_all_partitions(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url(), name="operator", types=["photo.uploaded"])
    photos = {await upload(gateway, name=name) for name in ("alice", "bob", "operator") * 2}

    async with delivering():
        await receiver.until(len(photos))
        with anyio.fail_after(DEADLINE_S):
            while (await webhooks.get(made["id"], name="operator"))["waitingSince"] is not None:
                await anyio.sleep(0.02)

    assert {photo for _, photo in told(receiver.requests)} == photos
    assert len(made["positions"]) == gateway.log.partitions
