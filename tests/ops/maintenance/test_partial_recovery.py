"""Recovering only the partitions that Redis has lost, while the others are still there."""

import pytest

from domain.photo.events import PhotoUploaded
from domain.pipeline.control import PauseStage
from gateway.rooms import room_history
from ops.errors import UserError
from ops.maintenance.audit import audit
from ops.maintenance.log_recover import Recovery
from ops.maintenance.log_recover_findings import Findings
from store.archive.archive import FOLDER
from store.blobs.folder import FolderBlobs
from store.errors import UnsuitableServer
from store.keys import Keys
from store.log import identity
from store.log.control import ControlLog
from store.log.log import Log
from store.queue import losses
from store.redis.connection import Client
from store.sqlite.connection import open_reader
from store.sqlite.generations import Generations
from tests.conftest import CONTEXT
from tests.ops.maintenance.recoveries import (
    CLIENTS,
    OTHER,
    PARTITIONS,
    client_of,
    dump,
    lose,
    lose_partition,
    project,
    recover,
    recoveries,
    reopened,
    stored,
    worked,
)
from tests.store.archive.segments import archive_all, everything, fill
from tests.store.commands import upload

UNUSED = 2
"""A partition without a client."""

THIRD = "frank"
"""A client of yet another partition."""


@pytest.fixture
def partitions() -> int:
    return PARTITIONS


@pytest.mark.parametrize("lost", [0, OTHER])
async def test_a_lost_partition_comes_back_and_the_others_are_not_touched(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, generations: Generations, lost: int
) -> None:
    photos = await worked(log, blobs)
    await ControlLog(log).execute(PauseStage(stage="thumbnails"), CONTEXT)
    await archive_all(log, blobs)
    photos += await worked(log, blobs)
    model = await project(log, generations)
    before = {each: await stored(log, each) for each in range(PARTITIONS)}
    states = [await log.load(photo_id, of) for of, photo_id in photos]
    kept = [each for each in range(PARTITIONS) if each not in (0, lost)]
    dumps = [await dump(redis, log, each) for each in kept]
    await lose_partition(redis, log.keys, lost)

    done = await recover(redis, prefix, blobs, [model])

    new = await reopened(redis, prefix, blobs)
    assert done.findings is not None
    assert (done.findings.recovered, done.findings.unnamed) == ((lost,), [])
    assert [await dump(redis, new, each) for each in kept] == dumps
    assert {each: await stored(new, each) for each in range(PARTITIONS)} == before
    assert [await new.load(photo_id, of) for of, photo_id in photos] == states
    (recorded,) = await recoveries(new)
    assert (recorded.epoch, recorded.partitions, recorded.lost) == (2, (lost,), ())
    assert await identity.epoch(redis, new.keys) == 2
    assert (await ControlLog(new).load()).controls.is_paused("thumbnails")
    await fill(new, 2, client_id=client_of(new, lost))
    found = await audit(new)
    assert (found.breaks, found.lost) == ([], [])


async def test_only_readers_of_the_lost_partition_learn_that_positions_have_changed(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, generations: Generations
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await fill(log, 3, client_id=client_of(log, OTHER))
    ends = {each: await log.end(each) for each in range(PARTITIONS)}
    await lose_partition(redis, log.keys, OTHER)
    await recover(redis, prefix, blobs)
    new = await reopened(redis, prefix, blobs)
    await fill(new, 1, client_id=client_of(new, OTHER))
    later = {each: await new.end(each) for each in range(PARTITIONS)}

    reader = open_reader(await project(new, generations))

    of_earlier = {each: room_history.of_earlier_epoch(reader, {each: ends[each]}) for each in ends}
    assert [each for each in ends if of_earlier[each]] == [OTHER]
    assert later[OTHER] > ends[OTHER]
    assert not room_history.of_earlier_epoch(reader, later)
    reader.close()


async def test_what_cannot_be_recovered_is_named_for_the_lost_partition_alone(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    for client_id in CLIENTS:  # neither sealed nor folded
        command = upload(client_id=client_id)
        await blobs.put(command.key, client_id.encode())
        await log.execute(command, client_id=client_id, context=CONTEXT)
    found = [each.event.data for each in await everything(log, OTHER)]
    uploaded = [each.key for each in found if isinstance(each, PhotoUploaded)]
    await lose_partition(redis, log.keys, OTHER)

    done = await recover(redis, prefix, blobs)

    assert done.findings is not None
    assert sorted(done.findings.unnamed) == sorted(uploaded[-2:])


async def test_a_partition_that_never_had_events_becomes_usable_again(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose_partition(redis, log.keys, UNUSED)

    done = await recover(redis, prefix, blobs)

    assert done.findings is not None
    assert [(each.partition, each.last) for each in done.findings.parts] == [(UNUSED, None)]
    new = await reopened(redis, prefix, blobs)
    await new.confirm(UNUSED)


async def test_a_stream_that_is_gone_alone_counts_as_lost(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    before = await stored(log, OTHER)
    await redis.unlink(log.keys.log(OTHER))

    done = await recover(redis, prefix, blobs)

    assert done.findings is not None
    assert done.findings.recovered == (OTHER,)
    new = await reopened(redis, prefix, blobs)
    assert await stored(new, OTHER) == before
    await fill(new, 2, client_id=client_of(new, OTHER))
    assert (await audit(new)).breaks == []


async def test_a_lost_partition_that_has_new_events_is_not_overwritten(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose_partition(redis, log.keys, OTHER)
    await redis.set(log.keys.identity(OTHER), log.log_id)  # an operator lets it begin empty
    await fill(log, 1, client_id=client_of(log, OTHER))
    before = await dump(redis, log, OTHER)

    with pytest.raises(UserError, match="has lost none of its partitions"):
        await recover(redis, prefix, blobs)

    assert await dump(redis, log, OTHER) == before


@pytest.mark.parametrize("also", [(), (0,)])
async def test_the_record_of_the_log_may_be_lost_with_partitions(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, also: tuple[int, ...]
) -> None:
    """The key belongs to a slot of its own; a second recovery begins a third epoch."""
    await worked(log, blobs)
    await fill(log, 1, client_id=THIRD)
    await archive_all(log, blobs)
    await lose_partition(redis, log.keys, OTHER)
    await recover(redis, prefix, blobs)
    new = await reopened(redis, prefix, blobs)
    await archive_all(new, blobs)
    before = {each: await stored(new, each) for each in range(PARTITIONS)}
    for each in (OTHER, *also):
        await lose_partition(redis, log.keys, each)
    await redis.unlink(log.keys.meta)

    done = await recover(redis, prefix, blobs)

    again = await reopened(redis, prefix, blobs)
    assert (again.log_id, again.partitions, done.epoch) == (log.log_id, PARTITIONS, 3)
    assert {each: await stored(again, each) for each in range(PARTITIONS)} == before
    assert [(each.epoch, each.partitions) for each in await recoveries(again)] == [
        (2, (OTHER,)),
        (3, tuple(sorted((OTHER, *also)))),
    ]


async def test_partitions_of_another_log_are_refused(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose(redis, prefix)
    other = await Log.open(redis, prefix=prefix, partitions=PARTITIONS)
    await fill(other, 1)
    before = [await dump(redis, other, each) for each in range(PARTITIONS)]

    with pytest.raises(UserError, match=f"does not belong to log {log.log_id}"):
        await recover(redis, prefix, blobs)

    assert [await dump(redis, other, each) for each in range(PARTITIONS)] == before


async def test_the_others_go_on_while_nothing_joins_the_log(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose_partition(redis, log.keys, OTHER)
    note, seen = losses.note, list[int]()

    async def while_it_is_not_done(of: Log, partition: int) -> None:
        with pytest.raises(UnsuitableServer, match="is being recovered"):
            await Log.open(redis, prefix=prefix)
        await fill(log, 1, client_id=client_of(log, 0))
        seen.append(partition)
        await note(of, partition)

    monkeypatch.setattr(losses, "note", while_it_is_not_done)

    await recover(redis, prefix, blobs)

    assert seen == [OTHER]
    assert (await audit(await reopened(redis, prefix, blobs))).breaks == []


async def interrupted(
    log: Log, redis: Client, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lose a partition, and interrupt its recovery."""
    await worked(log, blobs)
    await fill(log, 1, client_id=THIRD)
    await archive_all(log, blobs)
    await lose_partition(redis, log.keys, OTHER)

    async def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(losses, "note", interrupt)
    with pytest.raises(KeyboardInterrupt):
        await recover(redis, log.keys.prefix, blobs)
    monkeypatch.undo()


async def test_what_to_delete_to_start_over_spares_the_others(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await interrupted(log, redis, blobs, monkeypatch)
    last = (await blobs.keys(f"{FOLDER}/{OTHER:02d}"))[-1].key
    await blobs.delete(last)

    with pytest.raises(UserError, match="has changed since its recovery began") as refused:
        await recover(redis, prefix, blobs)

    named = str(refused.value).partition("delete the keys ")[2].partition(" and no others")[0]
    assert named.split() == [log.keys.meta, log.keys.log(OTHER)]
    await redis.unlink(*named.split())
    done = await recover(redis, prefix, blobs)
    new = await reopened(redis, prefix, blobs)
    assert done.epoch == 3  # the event of the one that was given up is there
    assert (await audit(new)).breaks == []


async def test_a_partition_that_is_lost_during_a_recovery_is_noticed(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await interrupted(log, redis, blobs, monkeypatch)
    await lose_partition(redis, log.keys, 0)

    with pytest.raises(UserError, match="partition 0 has been lost, too"):
        await recover(redis, prefix, blobs)

    await redis.unlink(log.keys.meta, log.keys.log(OTHER))
    done = await recover(redis, prefix, blobs)
    assert done.findings is not None
    assert done.findings.recovered == (0, OTHER)


async def test_damage_in_a_kept_partition_does_not_prevent_it(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await redis.xadd(log.keys.log(UNUSED), {"t": "photo.uploaded", "p": "x", "v": "1", "b": "?"})
    before = await stored(log, OTHER)
    await lose_partition(redis, log.keys, OTHER)
    asked: list[Findings] = []

    await Recovery(redis, Keys(prefix), blobs).run(None, asked.append)

    assert await stored(await reopened(redis, prefix, blobs), OTHER) == before
    assert f"partition {UNUSED} is still there, and cannot be read" in asked[0].unread[0]
