"""Keys beside the log that name what the log does not have: the log itself decides."""

from typing import Any

import pytest

from domain.photo.commands import DeletePhoto
from domain.pipeline.stages import Task
from store.errors import Lost
from store.log.log import Claim, Log
from store.log.outcome import Appended, Duplicate, KeyReused, Repeated
from store.log.position import Position
from tests.conftest import CONTEXT
from tests.store.commands import upload


@pytest.mark.parametrize("end", [b"1-1", b"9999999999999-0"])
async def test_a_key_that_names_no_event_is_forgotten(log: Log, end: bytes) -> None:
    first = upload()
    await log.execute(first, client_id="alice", context=CONTEXT, idempotency_key="k")
    assert await log.has_command("alice", "k")
    redis: Any = log.redis
    key = log.keys.command(0, "alice", "k")
    stored: bytes = await redis.get(key)
    known = (await log.end(0)).entry_id.encode()
    assert known in stored
    await redis.set(key, stored.replace(known, end))

    outcome = await log.execute(upload(), client_id="alice", context=CONTEXT, idempotency_key="k")

    assert isinstance(outcome, Appended)
    again = await log.execute(upload(), client_id="alice", context=CONTEXT, idempotency_key="k")
    assert isinstance(again, Repeated)
    assert again.position == outcome.position


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_content_hash_of_a_photo_with_other_bytes_is_folded_again(
    log: Log, key: str | None
) -> None:
    held, other = upload("some bytes"), upload("other bytes")
    for each in (held, other):
        await log.execute(each, client_id="alice", context=CONTEXT)
    hashes = log.keys.sha256(0, "alice")
    await log.redis.hset(hashes, held.sha256, other.photo_id)

    outcome = await log.execute(
        upload("some bytes"), client_id="alice", context=CONTEXT, idempotency_key=key
    )

    assert isinstance(outcome, Duplicate)
    assert outcome.photo.photo_id == held.photo_id
    assert await log.holder_of(held.sha256, "alice") == held.photo_id


async def test_a_content_hash_of_an_unknown_photo_does_not_reject_its_bytes(log: Log) -> None:
    await log.execute(upload(), client_id="alice", context=CONTEXT)
    wanted = upload("some bytes")
    await log.redis.hset(log.keys.sha256(0, "alice"), wanted.sha256, "no such photo")

    outcome = await log.execute(wanted, client_id="alice", context=CONTEXT)

    assert isinstance(outcome, Appended)
    assert await log.holder_of(wanted.sha256, "alice") == wanted.photo_id


async def test_lost_hashes_are_folded_without_those_of_deleted_photos(log: Log) -> None:
    kept, deleted, again = upload("kept"), upload("deleted"), upload("deleted")
    await log.execute(kept, client_id="alice", context=CONTEXT)
    await log.execute(deleted, client_id="alice", context=CONTEXT)
    await log.execute(DeletePhoto(photo_id=deleted.photo_id), client_id="alice", context=CONTEXT)
    await log.execute(upload("bob's", "bob"), client_id="bob", context=CONTEXT)
    await log.redis.delete(log.keys.sha256(0, "alice"))

    outcome = await log.execute(again, client_id="alice", context=CONTEXT)

    assert isinstance(outcome, Appended)
    assert await log.holder_of(kept.sha256, "alice") == kept.photo_id
    assert await log.holder_of(again.sha256, "alice") == again.photo_id
    assert await log.holder_of(kept.sha256, "bob") is None


async def test_a_key_that_met_a_duplicate_does_not_serve_other_bytes(log: Log) -> None:
    await log.execute(upload("same bytes"), client_id="alice", context=CONTEXT)
    await log.execute(upload("same bytes"), client_id="alice", context=CONTEXT, idempotency_key="k")

    outcome = await log.execute(upload(), client_id="alice", context=CONTEXT, idempotency_key="k")

    assert outcome == KeyReused()
    assert outcome.position is None


async def test_a_task_is_dropped_only_while_it_is_held(log: Log) -> None:
    task = Task(
        photo_id="p",
        client_id="alice",
        job_id="j",
        stage="validation",
        priority=5,
        trace_id="t",
        cause="0:1-0",
    )
    redis: Any = log.redis
    lane = log.keys.lane(0, "validation", "normal")
    await redis.xgroup_create(lane, "validation", "0", mkstream=True)
    entry_id: bytes = await redis.xadd(lane, {"b": b"task"})
    await redis.xreadgroup("validation", "me", {lane: ">"})
    held = Claim(lane_key=lane, group="validation", entry_id=entry_id.decode(), consumer="me")

    await log.acknowledge(task, held)

    with pytest.raises(Lost, match=held.entry_id):
        await log.acknowledge(task, held)
    assert await log.end(0) == Position.start(0)
