"""What the progress of webhooks survives: processes, Redis, the read model, and a lost log."""

import time
from typing import Any

import anyio
import msgspec

from projections.rebuild import rebuild
from store.log.position import Position
from store.sqlite.generations import Generations
from store.webhooks.lease import LEASE_S, PARTITION, read_report
from tests.gateway.conftest import DEADLINE_S, Gateway
from tests.gateway.webhooks.conftest import BOUNDS, Delivering, Webhooks
from tests.gateway.webhooks.events import told, upload
from tests.gateway.webhooks.receivers import Receiver


async def test_another_process_continues_after_one_that_was_killed(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url())
    photos = [await upload(gateway) for _ in range(8)]

    async with anyio.create_task_group() as tasks:

        async def killed() -> None:
            async with delivering():
                await receiver.until(3)
                tasks.cancel_scope.cancel()
                await anyio.sleep_forever()

        tasks.start_soon(killed)
    key = gateway.log.keys.webhooks(PARTITION)
    assert await gateway.log.redis.hget(key, "owner") == b"webhooks-1"
    before = len(receiver.requests)
    await gateway.log.redis.pexpire(key, 0)  # as after LEASE_S

    async with delivering():
        await webhooks.until(made["id"], waitingSince=None, failingSince=None)
        await receiver.until_true(
            lambda: {photo for _, photo in told(receiver.requests)} == set(photos)
        )

    again = len(receiver.requests) - len(photos)
    assert again <= BOUNDS.webhook_concurrency, (before, told(receiver.requests))


async def test_only_the_holder_of_the_lease_delivers_and_another_takes_over(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    await webhooks.create(receiver.url())

    async with delivering() as second_to_be:
        with anyio.fail_after(DEADLINE_S):
            while second_to_be.count == 0:
                await anyio.sleep(0.01)
        async with delivering() as waiting:
            await upload(gateway)
            await receiver.until(1)
            assert waiting.count == 0
            second_to_be.stop()
            await upload(gateway)
            await receiver.until(2)
            with anyio.fail_after(LEASE_S / 2):  # it was given back, and did not expire
                while waiting.count == 0:
                    await anyio.sleep(0.01)

    assert len({each.position for each in receiver.requests}) == 2


async def test_lost_or_spoiled_progress_repeats_events_and_loses_none(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    made = await webhooks.create(receiver.url())
    await upload(gateway)
    async with delivering():
        await receiver.until(1)
        await webhooks.until(made["id"], waitingSince=None, lastStatus=200)
    key = gateway.log.keys.webhook(PARTITION, made["id"])
    await gateway.log.redis.set(key, b"\xc1 is no progress")
    await upload(gateway)

    async with delivering():
        await receiver.until(3)

    positions = [each.position for each in receiver.requests]
    assert positions[0] == positions[1] != positions[2]


async def test_positions_survive_a_rebuild_of_the_read_model(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver, tmp_path: Any
) -> None:
    made = await webhooks.create(receiver.url())
    async with delivering():
        await upload(gateway)
        await receiver.until(1)
        await webhooks.until(made["id"], waitingSince=None, lastStatus=200)
        await rebuild(gateway.log, Generations(tmp_path / "read-model"))
        await upload(gateway)
        await receiver.until(2)

    assert len({each.position for each in receiver.requests}) == 2


async def test_events_that_come_after_a_loss_of_the_log_are_sent(
    gateway: Gateway, webhooks: Webhooks, delivering: Delivering, receiver: Receiver
) -> None:
    """A failover loses the last events; those that come then may stand before them."""
    made = await webhooks.create(receiver.url())
    ahead = Position(0, int(time.time() * 1000) - 1_000, 5)
    progress = {"reached": {0: {"ms": ahead.ms, "seq": ahead.seq, "replays": 0}}}
    key = gateway.log.keys.webhook(PARTITION, made["id"])
    await gateway.log.redis.set(key, msgspec.msgpack.encode(progress))
    await upload(gateway)

    async with delivering():
        await receiver.until(1)

    assert told(receiver.requests)[0][0] == "photo.uploaded"


async def test_a_process_without_the_lease_reports_nothing(gateway: Gateway) -> None:
    assert await read_report(gateway.log) is None
