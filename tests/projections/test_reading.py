"""A second process unpacks the archive for a rebuild, which gives the same tables."""

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from projections import fold, reading, rebuild
from projections.models.checkpoints import Coverage
from projections.reading import Reading
from projections.rebuild import RebuildReport
from projections.unpacker import Ended, Unpacker
from projections.unpacking import Unpack, Unpacked
from projections.verify import verify
from store.archive.archive import FOLDER, Archive
from store.blobs.folder import FolderBlobs, FolderReader
from store.errors import Corrupt
from store.log.archived import Sealed
from store.log.log import Log
from store.sqlite.generations import Generations
from tests.conftest import one_and_three
from tests.projections.conftest import execute, live_rows, rows
from tests.projections.stories import SCRIPT, processed, upload
from tests.projections.test_interrupted_rebuild import Interrupted, stop_after
from tests.store.archive.segments import trim_all

pytestmark = [pytest.mark.usefixtures("small_pages"), one_and_three]

PHOTOS = range(10, 18)

READ_UNTIL_READY = Reading.read_until_ready


@pytest.fixture
def archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderBlobs:
    """Return the store of an archive, of which a second process unpacks even a few segments."""
    monkeypatch.setattr(reading, "LEAST_SEGMENTS", 1)
    monkeypatch.setattr(rebuild, "processors", lambda: 2)
    return FolderBlobs(tmp_path / "blobs", "test")


@pytest.fixture(autouse=True)
def ready_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second process start before anything is read: these logs are short."""

    async def started(_: Reading, unpacker: Unpacker, *__: object) -> None:
        with suppress(Ended):
            await unpacker.start()

    monkeypatch.setattr(Reading, "read_until_ready", started)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Unpack]:
    """Return the requests that a second process gets."""
    found: list[Unpack] = []
    send = Unpacker.send

    async def noted(unpacker: Unpacker, request: Unpack) -> None:
        found.append(request)
        await send(unpacker, request)

    monkeypatch.setattr(Unpacker, "send", noted)
    return found


async def fill(log: Log, blobs: FolderBlobs) -> None:
    """Fill the log, and let all but its end leave the stream, in segments of eight entries."""
    await execute(log, *SCRIPT)
    for number in PHOTOS:
        await execute(log, upload(number), *processed(number))
    await trim_all(log, blobs)


async def alone(log: Log, folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return the tables of a rebuild in one process."""
    generations = Generations(folder)
    await rebuild.rebuild(log, generations, alone=True)
    return live_rows(generations)


@pytest.mark.parametrize("folds", [[True], [False], [True, False, False]])
async def test_two_processes_give_the_tables_of_one(
    log: Log,
    archived: FolderBlobs,
    generations: Generations,
    tmp_path: Path,
    asked: list[Unpack],
    monkeypatch: pytest.MonkeyPatch,
    folds: list[bool],
) -> None:
    """The second process folds all segments, none, or some, as ``folds`` says in turn."""
    turns = cycle(folds)

    def in_turn(_: object) -> bool:
        return next(turns)

    monkeypatch.setattr(reading, "is_behind", in_turn)
    await fill(log, archived)
    expected = await alone(log, tmp_path / "alone")
    assert asked == []

    await rebuild.rebuild(log, generations)

    assert len(asked) > len(PHOTOS)
    assert any(request.fold for request in asked) == any(folds)
    assert live_rows(generations) == expected
    assert (await verify(log, generations)).equal


@pytest.mark.parametrize("pages", [0, 1, 2, 7])
async def test_it_reads_alone_while_the_second_process_starts(
    log: Log,
    archived: FolderBlobs,
    generations: Generations,
    tmp_path: Path,
    asked: list[Unpack],
    monkeypatch: pytest.MonkeyPatch,
    pages: int,
) -> None:
    """The second process is ready once so many pages were read."""
    await fill(log, archived)
    expected = await alone(log, tmp_path / "alone")
    read, enough = 0, anyio.Event()
    page, start = Log.page, Unpacker.start

    async def counted(log: Log, *args: Any) -> Any:
        nonlocal read
        if read == pages:
            enough.set()
        await anyio.lowlevel.checkpoint()
        read += 1
        return await page(log, *args)

    async def after_enough(unpacker: Unpacker) -> None:
        await enough.wait()
        await start(unpacker)

    monkeypatch.setattr(Reading, "read_until_ready", READ_UNTIL_READY)
    monkeypatch.setattr(Log, "page", counted)
    monkeypatch.setattr(Unpacker, "start", after_enough)

    await rebuild.rebuild(log, generations)

    assert live_rows(generations) == expected
    assert (await verify(log, generations)).equal


async def test_a_log_that_is_all_in_the_stream_needs_no_archive(
    log: Log, generations: Generations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a new system the folder of the blobs may not be there yet."""
    monkeypatch.setattr(rebuild, "processors", lambda: 2)
    await execute(log, *SCRIPT)
    log.archive = Archive(FolderReader(tmp_path / "none"), log.log_id)

    await rebuild.rebuild(log, generations)

    assert (await verify(log, generations)).equal


def killing(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the second process be killed when it has answered ``after`` requests."""
    receive, answers = Unpacker.receive, 0

    async def killed(unpacker: Unpacker, sealed: Sealed) -> Unpacked:
        nonlocal answers
        answers += 1
        if answers > after and unpacker.process is not None:
            unpacker.process.kill()
            unpacker.process.wait()
        return await receive(unpacker, sealed)

    monkeypatch.setattr(Unpacker, "receive", killed)


@pytest.mark.parametrize("after", [0, 1, 5])
async def test_a_rebuild_continues_alone_if_the_second_process_is_killed(
    log: Log,
    archived: FolderBlobs,
    generations: Generations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    after: int,
) -> None:
    await fill(log, archived)
    expected = await alone(log, tmp_path / "alone")
    killing(monkeypatch, after)

    await rebuild.rebuild(log, generations)

    assert "the process that unpacks the archive has ended" in caplog.text
    assert live_rows(generations) == expected


async def test_a_rebuild_works_where_no_second_process_can_be_started(
    log: Log,
    archived: FolderBlobs,
    generations: Generations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await fill(log, archived)
    expected = await alone(log, tmp_path / "alone")
    monkeypatch.setattr("projections.unpacker.COMMAND", (str(tmp_path / "missing"),))

    await rebuild.rebuild(log, generations)

    assert live_rows(generations) == expected


async def test_an_interrupted_rebuild_ends_the_second_process_and_can_be_continued(
    log: Log,
    archived: FolderBlobs,
    generations: Generations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await fill(log, archived)
    expected = await alone(log, tmp_path / "alone")
    started: list[Unpacker] = []
    begin: Callable[..., Any] = Unpacker.begin

    async def noted(unpacker: Unpacker, waiting: Any) -> None:
        await begin(unpacker, waiting)
        started.append(unpacker)

    monkeypatch.setattr(Unpacker, "begin", noted)
    with pytest.raises(Interrupted):
        await rebuild.rebuild(log, generations, stop_after(3))
    assert [each.process for each in started] == [None] * len(started)
    assert started

    report: RebuildReport = await rebuild.rebuild(log, generations)

    assert report.resumed_at > 0
    assert live_rows(generations) == expected


async def test_a_damaged_segment_is_named(
    log: Log, archived: FolderBlobs, generations: Generations
) -> None:
    await fill(log, archived)
    folder = f"{FOLDER}/{log.partition_of('alice'):02d}"
    key = sorted(blob.key for blob in await archived.keys(folder))[3]
    data = b"".join([chunk async for chunk in archived.read(key)])
    middle = len(data) // 3
    await archived.put(key, data[:middle] + b"\xa5\x5a" + data[middle + 2 :])

    with pytest.raises(Corrupt, match=key):
        await rebuild.rebuild(log, generations)

    assert generations.current() is None


async def test_a_fold_up_to_a_position_in_a_segment_ends_there(
    log: Log, archived: FolderBlobs, tmp_path: Path, asked: list[Unpack]
) -> None:
    await fill(log, archived)
    home = log.partition_of("alice")
    middle = (await log.read((await log.trimmed(home)).start(home), count=21))[-1].position
    assert middle < await log.trimmed(home)
    upto = {each: await log.end(each) for each in range(log.partitions)} | {home: middle}
    tables: list[dict[str, list[tuple[Any, ...]]]] = []

    for name in ("alone", "helped"):
        with Unpacker() as unpacker:
            db = fold.create(
                tmp_path / f"{name}.sqlite", log.log_id, Coverage.whole(log.partitions)
            )
            helper = None if name == "alone" else unpacker
            await fold.catch_up(log, db, upto=upto, unpacker=helper)
            tables.append(rows(db))
            db.close()

    assert asked
    assert tables[0] == tables[1]


async def test_a_rebuild_ends_although_the_second_process_never_gets_ready(
    log: Log,
    archived: FolderBlobs,
    generations: Generations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await fill(log, archived)
    expected = await alone(log, tmp_path / "alone")
    frozen = (sys.executable, "-c", "import time; time.sleep(600)")
    monkeypatch.setattr("projections.unpacker.COMMAND", frozen)
    monkeypatch.setattr(Reading, "read_until_ready", READ_UNTIL_READY)

    await rebuild.rebuild(log, generations)

    assert live_rows(generations) == expected
