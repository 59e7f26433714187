"""What a log is recognized by, and what happens if a server comes back without it."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from store.errors import Replaced, Unavailable, UnsuitableServer
from store.log.doorbell import Doorbell, ring
from store.log.log import Log
from store.log.memory import memory
from store.redis.connection import Client, connect
from tests.conftest import CONTEXT
from tests.servers import url_in, valkey
from tests.store.commands import upload

OTHER = "f" * 32


async def test_a_log_is_found_once_it_is_created(redis: Client, prefix: str) -> None:
    assert await Log.find(redis, prefix=prefix) is None
    created = await Log.open(redis, prefix=prefix, partitions=3)

    found = await Log.find(redis, prefix=prefix)

    assert found is not None
    assert (found.log_id, found.partitions) == (created.log_id, 3)


async def test_a_log_may_be_joined_while_it_is_created(
    redis: Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes start on an empty server: one creates the log, the other joins it meanwhile."""
    get, joined = redis.get, list[Log]()

    async def joined_first(key: str) -> object:
        if not joined:
            monkeypatch.setattr(redis, "get", get)
            joined.append(await Log.open(redis, prefix=prefix, partitions=2))
        return await get(key)

    monkeypatch.setattr(redis, "get", joined_first)

    created = await Log.open(redis, prefix=prefix, partitions=2)

    assert [each.log_id for each in joined] == [created.log_id]
    found = await Log.find(redis, prefix=prefix)
    assert found is not None
    assert found.log_id == created.log_id


@pytest.mark.parametrize("count", ["0", "many", "1000000"])
async def test_a_log_whose_name_is_taken_is_left_alone(
    redis: Client, prefix: str, log: Log, count: str
) -> None:
    await redis.hset(log.keys.meta, "partitions", count)

    with pytest.raises(UnsuitableServer, match="another program"):
        await Log.find(redis, prefix=prefix)
    with pytest.raises(UnsuitableServer, match="another program"):
        await Log.open(redis, prefix=prefix)
    assert await redis.hget(log.keys.meta, "partitions") == count.encode()


async def test_a_key_of_another_type_is_not_a_log(redis: Client, prefix: str, log: Log) -> None:
    await redis.delete(log.keys.meta)
    await redis.set(log.keys.meta, "text")

    with pytest.raises(UnsuitableServer, match="another program"):
        await Log.find(redis, prefix=prefix)


async def test_a_log_whose_name_was_lost_is_not_created_again(
    redis: Client, prefix: str, log: Log
) -> None:
    await redis.delete(log.keys.meta)

    with pytest.raises(UnsuitableServer, match=f"HSET {log.keys.meta} id {log.log_id}"):
        await Log.open(redis, prefix=prefix)


@pytest.mark.parametrize("there", [None, OTHER])
async def test_a_server_with_another_log_or_none_is_noticed(
    redis: Client, log: Log, there: str | None
) -> None:
    await log.confirm()
    await redis.delete(log.keys.meta)
    if there is not None:
        await redis.hset(log.keys.meta, "id", there)

    with pytest.raises(Replaced, match=log.log_id):
        await log.confirm()


async def test_a_partition_of_another_log_is_noticed(redis: Client, log: Log) -> None:
    await log.confirm(0)
    await redis.set(log.keys.identity(0), OTHER)

    with pytest.raises(Replaced, match=OTHER):
        await log.confirm(0)


async def test_a_partition_without_its_events_is_noticed(redis: Client, log: Log) -> None:
    await log.execute(upload(), client_id="alice", context=CONTEXT)
    await redis.delete(log.keys.identity(0))
    await log.confirm(0)  # only the key of its id is lost

    await redis.delete(log.keys.log(0))

    with pytest.raises(Replaced, match="without its events"):
        await log.confirm(0)


@pytest.mark.parametrize("there", [None, "garbage"])
async def test_a_lost_id_of_a_partition_is_written_again_by_the_next_append(
    redis: Client, log: Log, there: str | None
) -> None:
    await log.execute(upload(), client_id="alice", context=CONTEXT)
    await redis.delete(log.keys.identity(0))
    if there is not None:
        await redis.set(log.keys.identity(0), there)

    await log.execute(upload(), client_id="alice", context=CONTEXT)

    assert await redis.get(log.keys.identity(0)) == log.log_id.encode()


async def test_a_doorbell_is_heard_again_after_the_server_was_away(own_folder: Path) -> None:
    async with AsyncExitStack() as stack:
        client = connect(url_in(own_folder))
        stack.push_async_callback(client.aclose)
        with valkey(own_folder):
            log = await Log.open(client)
            bell = Doorbell(log)
            stack.push_async_callback(bell.close)
            assert not await bell.wait(0.01)
        with pytest.raises(Unavailable):
            await bell.wait(5)
        with pytest.raises(Unavailable):
            await ring(log)
        assert await memory(log, 0) is None
        with valkey(own_folder):
            await client.check(None)
            assert not await bell.wait(0.01)
            await ring(log)
            assert await bell.wait(5)
