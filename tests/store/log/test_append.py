"""The script of an append: the checks of one call do not hide each other."""

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from domain.clients.quotas import Quota
from domain.clients.usage import Usage
from domain.photo.commands import UploadPhoto
from domain.sessions.session import CloseSession
from store.errors import Unexpected
from store.log.append import AppendRequest, Claim
from store.log.chain import chained_for
from store.log.log import Log
from store.log.outcome import Loaded
from store.log.position import Position
from store.log.sessions import SessionLog
from store.redis.connection import connect, translated
from tests.conftest import CONTEXT
from tests.store.commands import upload


@pytest.fixture
async def log(redis_url: str, prefix: str) -> AsyncGenerator[Log]:
    """A log on each server in turn."""
    redis = connect(redis_url)
    yield await Log.open(redis, prefix=prefix)
    await redis.aclose()


@pytest.fixture
async def task(log: Log) -> Claim:
    """A task that ``me`` holds."""
    redis: Any = log.redis
    lane = log.keys.lane(0, "validation", "normal")
    await redis.xgroup_create(lane, "validation", "0", mkstream=True)
    entry_id: bytes = await redis.xadd(lane, {"b": b"task"})
    await redis.xreadgroup("validation", "me", {lane: ">"})
    return Claim(lane_key=lane, group="validation", entry_id=entry_id.decode(), consumer="me")


def with_every_option(log: Log, command: UploadPhoto, task: Claim) -> AppendRequest:
    return AppendRequest(
        partition=0,
        state_key=log.keys.photo(0, command.photo_id),
        photo_id=command.photo_id,
        client_id="alice",
        chained=chained_for(command, "alice", Loaded(), CONTEXT, None, may_be_done=False),
        state=b"state",
        idempotency_key="k",
        hash_step=("claim", command.sha256),
        usage=Usage(photos=1, bytes=3, jobs=1),
        quota=Quota(photos=2, bytes=100, jobs=2, idempotency_keys=2, job_bytes=10),
        claim=task,
        session_id="trip",
    )


async def test_a_call_with_every_option_does_all_of_it(log: Log, task: Claim) -> None:
    command, redis = upload(), log.redis

    reply = await log.append.send(with_every_option(log, command, task))

    assert reply == [b"appended", (await log.end(0)).entry_id.encode()]
    assert await log.holder_of(command.sha256, "alice") == command.photo_id
    used = await log.usage("alice")
    assert (used.usage, used.idempotency_keys) == (Usage(photos=1, bytes=3, jobs=1), 1)
    assert await redis.xlen(task.lane_key) == 0
    assert await redis.hget(log.keys.photo(0, command.photo_id), "s") == b"state"


async def test_each_check_of_a_call_with_every_option_counts(log: Log, task: Claim) -> None:
    earlier = upload()
    await log.execute(earlier, client_id="alice", context=CONTEXT, idempotency_key="earlier")
    await SessionLog(log).execute(
        CloseSession(client_id="alice", session_id="closed"), CONTEXT, without=Position.start(0)
    )
    end, good = await log.end(0), with_every_option(log, upload(), task)
    quota, replace = good.quota, msgspec.structs.replace
    rejected: dict[str, dict[str, Any]] = {
        "lost": {"claim": replace(task, consumer="another")},
        "repeated": {"idempotency_key": "earlier"},
        "closed": {"session_id": "closed"},
        "conflict": {"version": 1},
        "over keys": {"quota": replace(quota, idempotency_keys=1)},
        "over photos": {"quota": replace(quota, photos=1)},
        "over bytes": {"quota": replace(quota, bytes=25)},
        "over jobs": {"quota": replace(quota, jobs=1)},
        "duplicate": {"hash_step": ("claim", earlier.sha256)},  # last: its key remembers it
    }

    replies = {name: await log.append.send(replace(good, **x)) for name, x in rejected.items()}

    assert {name: b" ".join(reply).decode()[: len(name)] for name, reply in replies.items()} == {
        name: name for name in rejected
    }
    assert await log.end(0) == end
    assert await log.redis.xlen(task.lane_key) == 1


async def test_an_option_out_of_place_stops_the_append(log: Log) -> None:
    command = upload()
    chained = chained_for(command, "alice", Loaded(), CONTEXT, None, may_be_done=False)
    keys, (body,) = log.keys, chained.bodies
    script = log.redis.lua("log/append")

    with pytest.raises(Unexpected, match="option"), translated():
        await script(
            keys=[
                *(keys.log(0), keys.identity(0), keys.photo(0, command.photo_id)),
                *(keys.usage(0, "alice"), keys.sha256(0, "alice"), keys.clients(0)),
            ],
            args=[
                *(
                    await log.redis.get(keys.identity(0)) or "",
                    command.photo_id,
                    0,
                    "",
                    "digest",
                    "",
                ),
                *(1, "photo.uploaded", body),
                *("usage", 1, 3, 1, "claim", command.sha256),
            ],
        )

    assert await log.end(0) == Position.start(0)
