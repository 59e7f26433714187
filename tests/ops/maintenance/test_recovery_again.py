"""Partial recoveries that are run again: after an interruption, and after another loss."""

import pytest

from domain.pipeline.control import PauseStage
from ops.errors import UserError
from ops.maintenance.audit import audit
from ops.maintenance.log_recover import Recovery
from store.archive.archive import FOLDER
from store.blobs.folder import FolderBlobs
from store.log import identity
from store.log.control import ControlLog
from store.log.hash_splitting import HashSplitter
from store.log.log import Log
from store.log.outcome import Appended
from store.redis.connection import Client
from tests.conftest import CONTEXT
from tests.ops.maintenance.recoveries import (
    OTHER,
    PARTITIONS,
    client_of,
    dump,
    keys_of,
    lose_partition,
    recover,
    recoveries,
    reopened,
    stored,
    worked,
)
from tests.store.archive.segments import archive_all, fill, trim_all
from tests.store.commands import upload


@pytest.fixture
def partitions() -> int:
    return PARTITIONS


async def damage(blobs: FolderBlobs, key: str) -> None:
    data = b"".join([chunk async for chunk in blobs.read(key)])
    await blobs.delete(key)
    await blobs.put(key, data[: len(data) // 2])


@pytest.mark.parametrize("lost", [0, OTHER])
async def test_an_epoch_is_not_used_again_if_its_event_cannot_be_read(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, lost: int
) -> None:
    """The event of the second epoch is after damaged segments of partition 0."""
    await worked(log, blobs)
    await ControlLog(log).execute(PauseStage(stage="thumbnails"), CONTEXT)
    await archive_all(log, blobs)
    await lose_partition(redis, log.keys, OTHER)
    await recover(redis, prefix, blobs)
    new = await reopened(redis, prefix, blobs)
    await archive_all(new, blobs)
    if lost != 0:
        await trim_all(new, blobs)
        await fill(new, 10, client_id=client_of(new, 0))
    await ControlLog(new).load()
    for each in (await blobs.keys(f"{FOLDER}/00"))[:-1]:
        await damage(blobs, each.key)
    await lose_partition(redis, log.keys, lost)
    await redis.unlink(log.keys.meta)

    done = await recover(redis, prefix, blobs)

    again = await reopened(redis, prefix, blobs)
    assert (done.epoch, await identity.epoch(redis, again.keys)) == (3, 3)
    assert (await ControlLog(again).load()).controls.epoch == 3


async def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("lost", [0, OTHER])
@pytest.mark.parametrize("step", ["_set_aside", "_own"])
async def test_what_is_lost_again_before_the_end_is_written_again(
    log: Log,
    redis: Client,
    prefix: str,
    blobs: FolderBlobs,
    monkeypatch: pytest.MonkeyPatch,
    lost: int,
    step: str,
) -> None:
    """A segment in the middle is damaged, so that later ones are moved aside."""
    await worked(log, blobs)
    await archive_all(log, blobs)
    await damage(blobs, (await blobs.keys(f"{FOLDER}/{lost:02d}"))[1].key)
    await lose_partition(redis, log.keys, lost)
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            await recover(redis, prefix, blobs)
    written = await redis.xlen(log.keys.log(lost)), await log.last_entry(lost)
    await lose_partition(redis, log.keys, lost)

    done = await recover(redis, prefix, blobs)

    new = await reopened(redis, prefix, blobs)
    assert written[0] > 1
    assert (await redis.xlen(log.keys.log(lost)), await log.last_entry(lost)) == written
    assert done.findings is not None
    assert [each.epoch for each in await recoveries(new)] == [2]
    await fill(new, 1, client_id=client_of(new, lost))
    assert (await audit(new)).breaks == []


async def test_a_recovery_whose_result_is_lost_before_its_end_does_not_end(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    before = await stored(log, OTHER)
    await lose_partition(redis, log.keys, OTHER)
    with monkeypatch.context() as patch:

        async def lose_again(*_: object) -> None:
            await lose_partition(redis, log.keys, OTHER)

        patch.setattr(Recovery, "_own", lose_again)
        with pytest.raises(UserError, match=f"partition {OTHER} no longer has"):
            await recover(redis, prefix, blobs)

    await recover(redis, prefix, blobs)

    assert await stored(await reopened(redis, prefix, blobs), OTHER) == before


@pytest.mark.parametrize("lost", [0, OTHER])
@pytest.mark.parametrize("step", ["_write", "_finish", "_set_aside"])
async def test_data_that_is_put_back_during_a_recovery_is_kept(
    log: Log,
    redis: Client,
    prefix: str,
    blobs: FolderBlobs,
    monkeypatch: pytest.MonkeyPatch,
    lost: int,
    step: str,
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await ControlLog(log).execute(PauseStage(stage="thumbnails"), CONTEXT)  # neither is sealed
    await fill(log, 3, client_id=client_of(log, lost))
    before, saved = await stored(log, lost), await dump(redis, log, lost)
    await lose_partition(redis, log.keys, lost)
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            await recover(redis, prefix, blobs)
    await lose_partition(redis, log.keys, lost)
    for key, value in saved.items():
        await redis.restore(key, 0, value)

    with pytest.raises(UserError, match=f"partition {lost} has events that this recovery") as told:
        await recover(redis, prefix, blobs)

    assert await dump(redis, log, lost) == saved
    assert f"delete the key {log.keys.meta}, and recover" in str(told.value)
    assert f"delete {log.keys.log(lost)}," in str(told.value)
    await redis.unlink(log.keys.log(lost))
    await recover(redis, prefix, blobs)
    new = await reopened(redis, prefix, blobs)
    after = await stored(new, lost)
    assert (before[: len(after)], (await audit(new)).breaks) == (after, [])


async def test_a_stream_of_another_origin_is_refused_in_a_recovery_that_has_begun(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the stream is put back: the partition still has the mark of the recovery."""
    await worked(log, blobs)
    await archive_all(log, blobs)
    await fill(log, 3, client_id=client_of(log, OTHER))
    stream = log.keys.log(OTHER)
    saved = await redis.dump(stream) or b""
    await lose_partition(redis, log.keys, OTHER)
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, "_finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            await recover(redis, prefix, blobs)
    await redis.restore(stream, 0, saved, replace=True)

    with pytest.raises(UserError, match=f"partition {OTHER} has events that this recovery"):
        await recover(redis, prefix, blobs)

    assert await redis.dump(stream) == saved


async def test_lost_uploads_of_a_stream_that_is_gone_alone_can_be_repeated(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    client_id = client_of(log, OTHER)
    before = (await log.usage(client_id)).usage
    commands = [upload(client_id=client_id) for _ in range(3)]
    for each in commands:
        await log.execute(each, client_id=client_id, context=CONTEXT, idempotency_key=each.photo_id)
    others = await dump(redis, log, 0)
    assert await HashSplitter(log, most=0).split(OTHER) > 0
    await redis.unlink(log.keys.log(OTHER))

    await recover(redis, prefix, blobs)

    new = await reopened(redis, prefix, blobs)
    assert not [each for each in await keys_of(redis, prefix) if ":hashes:" in each]
    assert (await new.usage(client_id)).usage == before
    kept = await dump(redis, new, 0)
    assert {each for each in others if ":photo:" in each or ":usage:" in each} <= set(kept)
    for each in commands:
        again = await new.execute(
            each, client_id=client_id, context=CONTEXT, idempotency_key=each.photo_id
        )
        assert isinstance(again, Appended)
    assert (await new.usage(client_id)).usage.photos == before.photos + len(commands)
    assert (await audit(new)).breaks == []


async def test_the_record_of_the_log_is_put_back_as_the_command_says(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose_partition(redis, log.keys, OTHER)
    await recover(redis, prefix, blobs)
    await redis.unlink(log.keys.meta)

    with pytest.raises(UserError, match="has lost only the key") as told:
        await recover(redis, prefix, blobs)

    await redis.execute_command(*str(told.value).partition("run ")[2].split())
    new = await reopened(redis, prefix, blobs)
    assert (new.log_id, new.partitions) == (log.log_id, PARTITIONS)
    assert await identity.epoch(redis, new.keys) == 2
    await fill(new, 1, client_id=client_of(new, OTHER))
    assert (await audit(new)).breaks == []


async def test_a_recovery_is_given_up_as_the_commands_say(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its event is in the controls already, so the log goes on in the epoch of that."""
    await worked(log, blobs)
    await archive_all(log, blobs)
    await fill(log, 3, client_id=client_of(log, OTHER))
    before, saved = await stored(log, OTHER), await dump(redis, log, OTHER)
    await lose_partition(redis, log.keys, OTHER)
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, "_finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            await recover(redis, prefix, blobs)
    await lose_partition(redis, log.keys, OTHER)
    for key, value in saved.items():
        await redis.restore(key, 0, value)

    with pytest.raises(UserError, match="delete the key") as refused:
        await recover(redis, prefix, blobs)
    await redis.unlink(str(refused.value).partition("delete the key ")[2].partition(",")[0])
    with pytest.raises(UserError, match="has lost only the key") as told:
        await recover(redis, prefix, blobs)
    await redis.execute_command(*str(told.value).partition("run ")[2].split())

    new = await reopened(redis, prefix, blobs)
    assert await identity.epoch(redis, new.keys) == 2
    assert await stored(new, OTHER) == before
    await fill(new, 1, client_id=client_of(new, OTHER))
    assert (await audit(new)).breaks == []
