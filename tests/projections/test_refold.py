"""A partition that has lost events is folded again alone; the others continue."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from domain.clients.quotas import DEFAULTS, OwnQuota, QuotaChanged
from domain.photo import commands as c
from domain.photo.events import FIRST_PREV, Event, Metadata
from projections import fold
from projections.data_loss import CODE
from projections.models.checkpoints import Coverage
from projections.projector import Projector
from projections.verify import verify
from store.log import codec
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded
from store.redis.connection import Client
from store.sqlite.connection import open_reader
from store.sqlite.generations import Generations
from tests.projections.conftest import (
    checkpoint,
    execute,
    history_of,
    live_rows,
    reached,
    rows,
    running,
    until,
)
from tests.projections.stories import BEGIN_MS, Chronicle, processed, upload
from tests.projections.test_fold import CHOICES

pytestmark = pytest.mark.usefixtures("small_pages")

PARTITIONS = 3
STEPS = 25


def clients_by_partition(log: Log) -> dict[int, list[str]]:
    """Return two clients of each partition."""
    of: dict[int, list[str]] = {partition: [] for partition in range(log.partitions)}
    for client_id in (f"client-{number}" for number in range(100)):
        of[log.partition_of(client_id)].append(client_id)
    return {partition: found[:2] for partition, found in of.items()}


def steps(random: Random, clients: Sequence[str], first: int, count: int) -> list[c.PhotoCommand]:
    """Return random commands on four photos, numbered from ``first`` on."""
    commands: list[c.PhotoCommand] = []
    for _ in range(count):
        number = random.randrange(4)
        for command in random.choice(CHOICES)(first + number):
            if isinstance(command, c.UploadPhoto):
                owner = clients[number % len(clients)]
                command = msgspec.structs.replace(command, client_id=owner)  # noqa: PLW2901
            commands.append(command)
    return commands


def quota_changed(random: Random, clients: Sequence[str], number: int) -> Event:
    quota = DEFAULTS if random.random() < 0.5 else OwnQuota(photos=number)
    return Event(
        timestamp="2026-11-23T10:00:00.000Z",
        data=QuotaChanged(client_id=random.choice(clients), quota=quota),
        metadata=Metadata(
            source="test",
            client_id="",
            session_id=None,
            trace_id="0af7651916cd43dd8448eb211c80319c",
            actor="operator",
            cause=None,
            photo_version=number + 1,
            prev=FIRST_PREV,
        ),
    )


def mixed(
    random: Random, recorded: Sequence[Recorded], partition: int, clients: Sequence[str]
) -> list[bytes]:
    """Return the bodies of the events, in partition 0 mixed with system events."""
    bodies: list[bytes] = []
    for number, each in enumerate(recorded):
        bodies.append(each.body)
        if partition == 0 and random.random() < 0.3:
            bodies.append(codec.encode_event(quota_changed(random, clients, number)))
    return bodies


async def write(log: Log, partition: int, entries: Sequence[tuple[int, bytes]]) -> None:
    """Add events to the stream unchanged, each at its time in ms."""
    redis: Any = log.redis
    for ms, body in entries:
        event = codec.decode_event(body)
        fields = {
            "t": event.type,
            "p": event.data.photo_id,
            "v": event.metadata.photo_version,
            "b": body,
        }
        await redis.xadd(log.keys.log(partition), fields, id=f"{ms}-0")


async def independent(log: Log, path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of a separate fold of the whole log."""
    with closing(fold.create(path, log.log_id, Coverage.whole(log.partitions))) as db:
        await fold.catch_up(log, db)
        return rows(db)


@pytest.mark.parametrize("seed", range(16))
async def test_the_read_model_equals_a_fold_of_what_the_log_has_now(
    redis: Client, prefix: str, generations: Generations, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    log = await Log.open(redis, partitions=PARTITIONS, prefix=prefix)
    untyped: Any = redis
    of = clients_by_partition(log)
    everyone = [client for clients in of.values() for client in clients]
    lossy = seed % PARTITIONS
    whole: list[bytes] = []
    others: list[bytes] = []
    cut = 0
    for partition, clients in of.items():
        first = 100 * partition
        commands = [
            upload(first, client_id=clients[0]),
            *steps(random, clients, first, STEPS),
            upload(first + 9, client_id=clients[1]),
        ]
        recorded = Chronicle.of(*commands).recorded
        bodies = mixed(random, recorded, partition, everyone)
        await write(log, partition, [(BEGIN_MS + 2 * n, body) for n, body in enumerate(bodies)])
        if partition == lossy:
            common = 0 if seed < PARTITIONS else random.randrange(len(commands))
            shared = len(Chronicle.of(*commands[:common]).recorded)
            more = steps(random, clients, first + random.randrange(4), random.randrange(12))
            forked = Chronicle.of(*commands[:common], *more).recorded[shared:]
            others = mixed(random, forked, partition, everyone)
            whole, cut = bodies, bodies.index(recorded[shared].body)
    await Projector(log, generations).catch_up()
    before, path = live_rows(generations), generations.current()
    assert path is not None
    events = history_of(path)
    assert before == await independent(log, tmp_path / "before.sqlite")

    lost = {BEGIN_MS + 2 * n for n in range(cut, len(whole))}
    await untyped.delete(log.keys.log(lossy))
    left = [(BEGIN_MS + 2 * n, body) for n, body in enumerate(whole[:cut])]
    others_at = [(BEGIN_MS + 2 * (cut + n) + 1, body) for n, body in enumerate(others)]
    await write(log, lossy, left + others_at)
    for _ in range(2):  # the alert may land in a partition that was already folded
        await Projector(log, generations).catch_up()

    assert live_rows(generations) == await independent(log, tmp_path / "after.sqlite")
    assert generations.current() == path
    (evidence,) = generations.kept_of(lossy)
    assert history_of(evidence) == [
        each for each in events if each.position.partition == lossy and each.position.ms in lost
    ]


async def test_the_other_partitions_continue_meanwhile(
    redis: Client, prefix: str, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    log = await Log.open(redis, partitions=PARTITIONS, prefix=prefix)
    of = clients_by_partition(log)
    untyped: Any = redis
    for partition, (client, _) in of.items():
        await execute(log, upload(partition, client_id=client), *processed(partition))
    await Projector(log, generations).catch_up()
    path, lost = generations.current(), await log.end(1)
    before = [row for row in live_rows(generations)["history"] if row[0] == 1]
    await untyped.xdel(log.keys.log(1), lost.entry_id)
    no_event = {"t": "photo.uploaded", "p": "x", "v": 1, "b": b"\xff"}
    stuck: Any = await untyped.xadd(log.keys.log(1), no_event)

    async with running(Projector(log, generations)):
        await until(lambda: "partition 1 of the projector waits" in caplog.text, "the refold")
        for partition in (0, 2):
            await execute(log, upload(10 + partition, client_id=of[partition][0]))
            end = await log.end(partition)
            await until(lambda end=end: checkpoint(generations, end.partition) >= end, f"{end}")
        assert checkpoint(generations, 1) == lost
        assert [row for row in live_rows(generations)["history"] if row[0] == 1] == before
        await untyped.xdel(log.keys.log(1), stuck)
        await until(lambda: checkpoint(generations, 1) < lost, "the refold")
        await execute(log, upload(11, client_id=of[1][0]))
        await reached(log, generations)

    assert generations.current() == path
    assert (await verify(log, generations)).equal
    assert len(live_rows(generations)["photos"]) == 6
    assert caplog.text.count("partition 1 has lost 1 events") == 1
    alerts = [each async for each in log.scan(0) if getattr(each.event.data, "code", "") == CODE]
    assert len(alerts) == 1


async def test_the_first_lost_events_of_each_partition_are_kept(
    redis: Client, prefix: str, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    log = await Log.open(redis, partitions=2, prefix=prefix)
    of = clients_by_partition(log)
    untyped: Any = redis
    lost: dict[int, list[Position]] = {0: [], 1: []}
    for number in range(generations.most_kept + 1):
        for partition in (1, 0):
            await execute(log, upload(10 * partition + number, client_id=of[partition][0]))
            await Projector(log, generations).catch_up()
            lost[partition].append(checkpoint(generations, partition))
            await untyped.xdel(log.keys.log(partition), lost[partition][-1].entry_id)
            await Projector(log, generations).catch_up()

    for partition, positions in lost.items():
        kept = [history_of(path) for path in generations.kept_of(partition)]
        assert [events[0].position for events in kept] == positions[: generations.most_kept]
        assert f"partition {partition} up to {positions[-1]} are not kept" in caplog.text
    assert generations.kept() == []


async def test_a_generation_that_turns_out_damaged_is_rebuilt(
    log: Log, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(log, *(upload(number) for number in range(300)))
    await Projector(log, generations).catch_up()
    path, home = generations.current(), log.partition_of("alice")
    assert path is not None
    lost = await log.end(home)
    untyped: Any = log.redis
    await untyped.xdel(log.keys.log(home), lost.entry_id)
    page = rows_page(path)
    with path.open("r+b") as file:
        file.seek(page)
        file.write(b"\xa5" * 2048)

    await Projector(log, generations).catch_up()

    assert generations.current() != path
    assert (await verify(log, generations)).equal


def rows_page(path: Path) -> int:
    """Return where the first leaf of the table ``photos`` begins in the file."""
    with closing(open_reader(path)) as db:
        found = db.execute(
            "SELECT pageno FROM dbstat WHERE name = 'photos' AND pagetype = 'leaf' LIMIT 1"
        )
        return (found[0][0] - 1) * db.execute("PRAGMA page_size")[0][0]
