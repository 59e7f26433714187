"""The projector keeps up with the log and recovers from failures of Redis, disk and file."""

import logging
import resource
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from domain.pipeline.control_events import AlertRaised
from projections import pace
from projections.models import checkpoints, photos
from projections.pace import AT_ONCE
from projections.projector import Committed, Projector
from projections.rebuild import rebuild
from projections.verify import verify
from store.background import Background
from store.errors import Replaced, Unavailable
from store.log.doorbell import Doorbell
from store.log.log import Log
from store.redis.connection import Client, connect
from store.sqlite.connection import open_writer
from store.sqlite.generations import Generations
from store.sqlite.reader import Reader
from tests.conftest import home, one_and_three
from tests.projections.conftest import (
    checkpoint,
    execute,
    live_rows,
    reached,
    running,
    until,
)
from tests.projections.stories import SCRIPT, photo_id, processed, upload
from tests.servers import valkey


@one_and_three
async def test_the_story_reaches_the_rows(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)

    await projector.catch_up()

    reader = Reader(generations)
    view = await reader.query(photos.get, photo_id(1))
    reader.close()
    assert view is not None
    assert (view.processing_status, view.blurhash) == ("completed", "LEHV6nWB2yk8pyo0adR*.7kCMdnj")
    assert checkpoint(generations, home(log)) == await log.end(home(log))


@one_and_three
async def test_each_commit_is_observed_with_its_events(log: Log, generations: Generations) -> None:
    await Projector(log, generations).catch_up()  # the commits of a rebuild do not count
    await execute(log, *SCRIPT)
    commits: list[Committed] = []

    await Projector(log, generations, commits.append).catch_up()
    await Projector(log, generations, commits.append).catch_up()

    [committed] = commits
    assert [each.position for each in committed.recorded] == [
        each.position async for each in log.scan(home(log))
    ]
    assert committed.seconds > 0


async def test_an_empty_log_has_a_read_model_at_once_and_without_a_warning(
    log: Log, projector: Projector, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(projector):
        await until(lambda: generations.current() is not None, "a generation")

    assert live_rows(generations)["photos"] == []
    assert [each for each in caplog.records if each.levelno > logging.INFO] == []


@one_and_three
async def test_a_running_projector_follows_the_log(
    log: Log, projector: Projector, generations: Generations
) -> None:
    async with running(projector):
        for number in (1, 2, 3):
            await execute(log, upload(number), *processed(number))
            await reached(log, generations)
            assert len(live_rows(generations)["photos"]) == number


async def test_events_gather_while_many_come(
    log: Log, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather_s, photos_sent = 0.5, 60
    monkeypatch.setattr(pace, "GATHER_S", gather_s)
    commits: list[Committed] = []
    await Projector(log, generations).catch_up()
    async with running(Projector(log, generations, commits.append)):
        await execute(log, upload(1))
        await until(lambda: bool(commits), "a commit")
        commits.clear()
        began = time.monotonic()
        for number in range(2, photos_sent + 2):
            await execute(log, upload(number))
            await anyio.sleep(0.01)  # long enough for a commit of its own
        await reached(log, generations)
        lasted_s = time.monotonic() - began

    assert len(live_rows(generations)["photos"]) == photos_sent + 1
    assert len(commits) <= AT_ONCE + 2 + lasted_s / gather_s
    assert len(commits) < photos_sent


async def test_a_commit_rings_the_doorbell(log: Log, projector: Projector) -> None:
    await projector.catch_up()
    bell = Doorbell(log)
    await bell.wait(0)
    await execute(log, upload())

    await projector.catch_up()

    assert await bell.wait(5)
    await bell.close()


@one_and_three
async def test_another_projector_goes_on_where_one_stopped(
    log: Log, generations: Generations
) -> None:
    for number in (1, 2, 3):
        await execute(log, upload(number))
        async with running(Projector(log, generations)):
            await reached(log, generations)

    assert (await verify(log, generations)).equal


async def test_two_projectors_by_mistake_apply_every_event_once(
    log: Log, generations: Generations
) -> None:
    await Projector(log, generations).catch_up()

    async with running(Projector(log, generations)), running(Projector(log, generations)):
        for number in range(1, 6):
            await execute(log, upload(number), *processed(number))
        await reached(log, generations)

    assert (await verify(log, generations)).equal


async def test_three_partitions_are_followed_side_by_side(
    redis: Client, prefix: str, generations: Generations
) -> None:
    log = await Log.open(redis, partitions=3, prefix=prefix)
    clients = [f"client-{number}" for number in range(9)]
    assert {log.partition_of(client) for client in clients} == {0, 1, 2}

    async with running(Projector(log, generations)):
        for number, client in enumerate(clients):
            await execute(log, upload(number, client_id=client))
        await reached(log, generations)

    assert (await verify(log, generations)).equal
    assert len(live_rows(generations)["photos"]) == len(clients)


@one_and_three
@pytest.mark.parametrize("grown", [False, True])
async def test_events_that_the_log_has_lost_leave_the_read_model(
    log: Log,
    projector: Projector,
    generations: Generations,
    caplog: pytest.LogCaptureFixture,
    *,
    grown: bool,
) -> None:
    await execute(log, upload(1), upload(2))
    await projector.catch_up()
    lost = await log.end(home(log))
    await log.redis.xdel(log.keys.log(home(log)), lost.entry_id)
    if grown:
        await execute(log, upload(3))

    await projector.catch_up()

    left = [photo_id(1), photo_id(3)] if grown else [photo_id(1)]
    assert [row[0] for row in live_rows(generations)["photos"]] == left
    assert f"the log no longer has {lost}" in caplog.text
    [alert] = [
        each.event.data async for each in log.scan(0) if isinstance(each.event.data, AlertRaised)
    ]
    assert (alert.code, alert.level) == ("events-lost", "critical")
    assert alert.error.endswith(f"has lost 1 events, up to {lost}; of 1 photos")


async def test_the_losses_of_all_partitions_are_named_in_one_alert(
    redis: Client, prefix: str, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    log = await Log.open(redis, partitions=3, prefix=prefix)
    of = {log.partition_of(client): client for client in map(str, range(50))}
    await execute(log, *(upload(1 + n, client_id=of[n % 3]) for n in range(6)))
    await Projector(log, generations).catch_up()
    for partition in (1, 2):
        lost = await log.end(partition)
        await redis.xdel(log.keys.log(partition), lost.entry_id)

    caplog.set_level(logging.INFO, "photolog.projector")
    async with running(Projector(log, generations)):
        await until(lambda: caplog.text.count("was folded again in") == 2, "the refolds")

    for partition in (1, 2):
        assert caplog.text.count(f"partition {partition} has lost 1 events") == 1
    assert "partition 0 has lost" not in caplog.text
    [alert] = [
        each.event.data async for each in log.scan(0) if isinstance(each.event.data, AlertRaised)
    ]
    assert alert.error.endswith("; of 2 photos")


async def test_a_log_that_was_replaced_is_not_folded(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload(1))
    await projector.catch_up()
    before = live_rows(generations)
    for key in (log.keys.meta, log.keys.log(0)):
        await log.redis.delete(key)

    with pytest.raises(Replaced):
        await projector.catch_up()

    assert live_rows(generations) == before


async def test_a_partition_that_has_come_back_empty_is_not_folded(
    redis: Client, prefix: str, generations: Generations
) -> None:
    log = await Log.open(redis, partitions=2, prefix=prefix)
    of = {log.partition_of(client): client for client in ("alice", "bob", "carol", "dave")}
    await execute(log, upload(1, client_id=of[0]), upload(2, client_id=of[1]))
    await Projector(log, generations).catch_up()
    before = live_rows(generations)
    for key in (log.keys.identity(0), log.keys.log(0)):
        await redis.delete(key)

    with pytest.raises(Replaced):
        await Projector(log, generations).catch_up()
    with pytest.raises(Replaced):
        await rebuild(log, generations)

    assert live_rows(generations) == before


async def test_an_entry_that_is_no_event_stops_its_partition_only(
    redis: Client, prefix: str, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    log = await Log.open(redis, partitions=2, prefix=prefix)
    of = {log.partition_of(client): client for client in ("alice", "bob", "carol", "dave")}
    await execute(log, upload(1, client_id=of[0]), upload(2, client_id=of[1]))
    async with running(Projector(log, generations)):
        await reached(log, generations)
        await redis.xadd(log.keys.log(0), {"t": "photo.uploaded", "p": "x", "v": 1, "b": b"\xff"})
        await until(lambda: "partition 0 of the projector waits" in caplog.text, "a log line")
        await execute(log, upload(3, client_id=of[1]))
        end = await log.end(1)
        await until(lambda: checkpoint(generations, 1) == end, "the other partition")

    assert "a log entry cannot be decoded" in caplog.text
    assert len(live_rows(generations)["photos"]) == 3


async def test_a_foreign_entry_is_passed_over(log: Log, generations: Generations) -> None:
    key = log.keys.log(home(log))
    await execute(log, upload(1))
    async with running(Projector(log, generations)):
        await reached(log, generations)
        await log.redis.xadd(key, {"what": "ever"})
        await execute(log, upload(2))
        await log.redis.xadd(key, {"what": "ever"})
        await reached(log, generations)

    before = live_rows(generations)
    assert len(before["history"]) == 2
    await rebuild(log, generations)
    assert live_rows(generations) == before


async def test_redis_away_is_waited_for(
    own_folder: Path, prefix: str, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "photolog.projector")
    with valkey(own_folder) as url:
        redis = connect(url)
        log = await Log.open(redis, prefix=prefix)
        await execute(log, upload(1))
        async with running(Projector(log, generations)):
            await reached(log, generations)
        projector = Projector(log, generations)
    async with running(projector):
        await until(lambda: "partition 0 of the projector waits" in caplog.text, "a log line")
        with valkey(own_folder):
            await execute(log, upload(2))
            await reached(log, generations)
            await until(lambda: "partition 0 of the projector continues" in caplog.text, "a line")
            assert caplog.text.count("waits") == 1
            assert (await verify(log, generations)).equal
            await redis.aclose()


async def test_a_full_disk_is_waited_for(
    log: Log, projector: Projector, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    await projector.catch_up()
    path = generations.current()
    assert path is not None
    async with running(projector):
        await execute(log, upload(1))
        await reached(log, generations)
        with largest_file(path.with_name(f"{path.name}-wal").stat().st_size):
            await execute(log, upload(2), *processed(2))
            await until(lambda: "partition 0 of the projector waits" in caplog.text, "a log line")
            assert checkpoint(generations, home(log)) < await log.end(home(log))
        await reached(log, generations)

    assert (await verify(log, generations)).equal
    assert generations.current() == path


@contextmanager
def largest_file(size_bytes: int) -> Generator[None]:
    """Make writes beyond that size fail in this process, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_an_unexpected_error_is_logged_and_the_projector_continues_when_it_is_over(
    log: Log, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    background = Background()
    projector = Projector(log, generations, background=background)
    async with running(projector):
        await execute(log, *SCRIPT[:1])
        await reached(log, generations)
        path = generations.current()
        assert path is not None
        with closing(open_writer(path)) as db:
            db.execute("ALTER TABLE photos RENAME COLUMN file_size TO girth")
            await execute(log, *SCRIPT[1:])
            await until(lambda: background.failures["projection"] > 0, "the failure")
            db.execute("ALTER TABLE photos RENAME COLUMN girth TO file_size")

        await reached(log, generations)

    assert "projection of partition 0 failed, restarting it in" in caplog.text
    assert (await verify(log, generations)).equal


async def test_a_lack_of_file_descriptors_is_an_outage(
    log: Log, generations: Generations, projector: Projector
) -> None:
    """An error of the operating system about the files is an outage, not a bug."""
    await execute(log, *SCRIPT)
    await projector.catch_up()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name.name) for name in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(3, highest), hard))
    try:
        with pytest.raises(Unavailable):
            generations.current()
        with pytest.raises(Unavailable):
            await Reader(generations).query(checkpoints.get, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
