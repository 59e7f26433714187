"""Another program writes to the server: folded data is restored from the log."""

from typing import Any

import anyio
import pytest

from domain.photo.commands import DeletePhoto, PhotoCommand
from domain.pipeline.control import PauseStage
from store.errors import Replaced
from store.log.control import ControlLog
from store.log.foreign import noted
from store.log.log import Loaded, Log
from store.log.outcome import Appended, Duplicate, Outcome
from store.log.position import Position
from store.log.stream import Stream
from store.queue import losses
from store.queue.dispatch import Dispatch
from store.queue.lanes import Lanes
from store.redis.connection import Client
from tests.store.commands import upload
from tests.store.waiting import CONTEXT, STAGES, uploaded

HARM = {
    "a field is gone": ("HDEL", "v"),
    "the version is no number": ("HSET", "v", "abc"),
    "the state is garbage": ("HSET", "s", "garbage"),
    "the version is another": ("HSET", "v", "77"),
    "the digest is another": ("HSET", "d", "ab" * 32),
    "the position is another": ("HSET", "p", "1-1"),
    "the position is none": ("HSET", "p", "none"),
    "the digest and version are another": ("HSET", "v", "2", "d", "ab" * 32),
    "both are wrong": ("HSET", "s", "garbage", "d", "zz", "v", "77", "p", "1-1"),
    "another type": ("SET", "str"),
}


async def harm(log: Log, key: str, name: str) -> None:
    command, *rest = HARM[name]
    redis: Any = log.redis
    if command == "SET":
        await redis.set(key, *rest)
    else:
        await redis.execute_command(command, key, *rest)


@pytest.mark.parametrize("name", HARM)
async def test_a_damaged_photo_state_is_folded_again(log: Log, name: str) -> None:
    photo = await uploaded(log)
    whole = await log.load(photo.photo_id, "alice")
    partition = log.partition_of("alice")

    await harm(log, log.keys.photo(partition, photo.photo_id), name)
    command = DeletePhoto(photo_id=photo.photo_id)
    done = await log.execute(command, client_id="alice", context=CONTEXT, patience_s=2)

    assert whole.photo is not None
    assert isinstance(done, Appended)
    assert [event.type for event in done.events] == ["photo.deleted"]
    assert done.events[0].metadata.photo_version == whole.version + 1
    assert done.events[0].metadata.prev == whole.digest


@pytest.mark.parametrize("name", HARM)
async def test_damaged_controls_are_folded_again(log: Log, name: str) -> None:
    controls = ControlLog(log)
    said = await controls.execute(PauseStage(stage="metadata"), CONTEXT)

    await harm(log, log.keys.pipeline(0), name)
    found = await ControlLog(log).execute(PauseStage(stage="validation"), CONTEXT, patience_s=2)

    assert found.controls.is_paused("metadata")
    assert found.version == 2
    assert [recorded.event.metadata.prev async for recorded in log.scan(0)][-1] == said.digest


async def test_a_state_copied_from_another_photo_is_not_believed(log: Log) -> None:
    photo, other = await uploaded(log), await uploaded(log)
    whole = await log.load(photo.photo_id, "alice")
    redis: Any = log.redis
    of_other = await redis.hgetall(log.keys.photo(0, other.photo_id))
    await redis.hset(log.keys.photo(0, photo.photo_id), mapping=of_other)

    assert await log.load(photo.photo_id, "alice") == whole


async def test_lanes_and_timers_of_another_type_count_as_lost(log: Log) -> None:
    await uploaded(log)
    lanes = Lanes(log, "worker", STAGES)
    await lanes.prepare(0)
    await log.redis.delete(log.keys.losses(0))

    redis: Any = log.redis
    for key in (log.keys.lane(0, STAGES[0], "high"), log.keys.timers(0)):
        await redis.set(key, "str")
        await lanes.prepare(0)

        assert await losses.are_noted(log, 0)
        assert await redis.type(key) != b"string"
        await log.redis.delete(log.keys.losses(0))


async def test_missing_timers_count_as_lost(log: Log) -> None:
    await uploaded(log)
    lanes = Lanes(log, "worker", STAGES)
    await lanes.prepare(0)
    await log.redis.delete(log.keys.losses(0))
    await lanes.prepare(0)
    assert not await losses.are_noted(log, 0)

    await log.redis.delete(log.keys.timers(0))
    await lanes.prepare(0)

    assert await losses.are_noted(log, 0)


async def append(
    log: Log, command: PhotoCommand | None = None, loaded: Loaded | None = None
) -> Outcome:
    """Execute the command, by default an upload, without patience."""
    return await log.execute(
        command or upload(), client_id="alice", context=CONTEXT, loaded=loaded, patience_s=0.1
    )


async def keys_of(log: Log) -> list[bytes]:
    redis: Any = log.redis
    return [key async for key in redis.scan_iter(match=f"{log.keys.prefix}:*")]


async def empty(log: Log) -> None:
    for key in await keys_of(log):
        await log.redis.delete(key)


class TestAnotherLog:
    """The server comes back empty, or with another log."""

    async def test_nothing_is_appended_to_an_emptied_server(self, log: Log) -> None:
        photo = await uploaded(log)
        known = await log.load(photo.photo_id, "alice")
        await empty(log)

        with pytest.raises(Replaced, match="Redis has no log now"):
            await append(log)
        with pytest.raises(Replaced):
            await append(log, DeletePhoto(photo_id=photo.photo_id), known)

        assert await keys_of(log) == []

    async def test_a_partition_that_comes_back_empty_rejects_appends(
        self, redis: Client, prefix: str
    ) -> None:
        log = await Log.open(redis, partitions=3, prefix=prefix)
        lost = log.partition_of("alice")
        other = next(name for name in "abcdefgh" if log.partition_of(name) != lost)
        for key in await keys_of(log):
            if key.startswith(log.keys.log(lost).removesuffix("log").encode()):
                await log.redis.delete(key)

        for joined in (log, await Log.open(redis, prefix=prefix)):
            with pytest.raises(Replaced, match=f"partition {lost} has come back without"):
                await joined.execute(upload(), client_id="alice", context=CONTEXT, patience_s=0.1)
            with pytest.raises(Replaced):
                await joined.confirm(lost)
            await joined.execute(
                upload(client_id=other), client_id=other, context=CONTEXT, patience_s=0.1
            )
            await joined.confirm(log.partition_of(other))

        await redis.set(log.keys.identity(lost), log.log_id)  # as the guide says, to start over

        await log.execute(upload(), client_id="alice", context=CONTEXT, patience_s=0.1)

    async def test_a_partition_with_its_events_gets_its_id_back(
        self, redis: Client, prefix: str
    ) -> None:
        log = await Log.open(redis, prefix=prefix)
        await uploaded(log)
        await redis.delete(log.keys.identity(0))

        await append(log)

        assert await redis.get(log.keys.identity(0)) == log.log_id.encode()

    async def test_nothing_is_appended_to_another_log(self, log: Log) -> None:
        await uploaded(log)
        await empty(log)
        other = await Log.open(log.redis, prefix=log.keys.prefix)
        await uploaded(other)

        with pytest.raises(Replaced, match=f"Redis has the log {other.log_id} now"):
            await append(log)

    async def test_appends_continue_when_the_log_is_back(self, log: Log) -> None:
        await uploaded(log)
        redis: Any = log.redis
        saved = {key: await redis.dump(key) for key in await keys_of(log)}
        await empty(log)
        with pytest.raises(Replaced):
            await append(log)

        for key, value in saved.items():
            await redis.restore(key, 0, value)

        await append(log)
        await log.confirm()

    async def test_a_missing_id_of_the_log_is_written_again(self, log: Log) -> None:
        await uploaded(log)
        await log.redis.delete(log.keys.identity(log.partition_of("alice")))

        await uploaded(log)

    async def test_find_creates_no_log(self, log: Log) -> None:
        found = await Log.find(log.redis, prefix=log.keys.prefix)
        await empty(log)

        assert found is not None
        assert (found.log_id, found.partitions) == (log.log_id, log.partitions)
        assert await Log.find(log.redis, prefix=log.keys.prefix) is None
        assert await keys_of(log) == []


class TestForeignEntries:
    """Another program has written entries to a partition's stream that are not events."""

    async def test_readers_skip_them(self, log: Log) -> None:
        photo = await uploaded(log)
        whole, end = await log.load(photo.photo_id, "alice"), await log.end(0)

        for _ in range(3):
            await log.redis.xadd(log.keys.log(0), {"p": photo.photo_id, "b": b"\xff"})

        assert await log.end(0) == end
        assert await log.last_entry(0) > end
        assert await log.read(end, count=1, block_ms=10) == []
        assert [each.position async for each in log.scan(0)] == [end]
        await log.redis.delete(log.keys.photo(0, photo.photo_id))
        with anyio.fail_after(5):
            assert await log.load(photo.photo_id, "alice") == whole

    async def test_controls_are_folded_despite_them(self, log: Log) -> None:
        said = await ControlLog(log).execute(PauseStage(stage="metadata"), CONTEXT)
        await log.redis.xadd(log.keys.log(0), {"what": "ever"})
        await log.redis.delete(log.keys.pipeline(0))

        with anyio.fail_after(5):
            assert await ControlLog(log).load() == said

    async def test_a_dispatcher_reports_them_once_and_plans_nothing(
        self, log: Log, caplog: pytest.LogCaptureFixture
    ) -> None:
        redis: Any = log.redis
        entry_id = await redis.xadd(log.keys.log(0), {"what": "ever"})
        dispatch = Dispatch(log, "one")
        await dispatch.prepare(0)

        assert await dispatch.read(0, count=10, block_ms=10) == []
        assert await dispatch.recall(0) == []

        assert caplog.text.count("entries that are not events") == 1
        assert await noted(log) == Position.of_entry(0, entry_id)
        await redis.xdel(log.keys.log(0), entry_id)
        assert await noted(log) is None


class TestLostContentHashes:
    """The key that maps content hashes to photos is gone."""

    @pytest.mark.parametrize("also", [False, True])
    async def test_the_same_bytes_are_the_same_photo(self, log: Log, also: bool) -> None:
        photo, gone = await uploaded(log), await uploaded(log)
        await append(log, DeletePhoto(photo_id=gone.photo_id))
        await log.redis.delete(log.keys.sha256(0, "alice"))
        if also:
            await log.redis.delete(log.keys.clients(0))

        again = await append(log, upload(photo.photo_id))
        new = await append(log, upload(gone.photo_id))

        assert isinstance(again, Duplicate)
        assert again.photo.photo_id == photo.photo_id
        assert isinstance(new, Appended)

    async def test_a_client_that_has_deleted_everything_has_lost_nothing(self, log: Log) -> None:
        photo = await uploaded(log)
        await append(log, DeletePhoto(photo_id=photo.photo_id))

        redis: Any = log.redis
        assert await redis.hgetall(log.keys.sha256(0, "alice")) == {b"": b""}

    async def test_the_first_upload_of_a_client_reads_no_log(
        self, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await uploaded(log)
        monkeypatch.delattr(Stream, "scan")

        done = await log.execute(
            upload(client_id="bob"), client_id="bob", context=CONTEXT, patience_s=0.1
        )

        assert isinstance(done, Appended)
