"""A rebuild keeps the old generation if that has events that the log has lost or changed."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from projections.projector import Projector
from projections.rebuild import rebuild
from store.log.log import Log
from store.sqlite.connection import open_reader, open_writer
from store.sqlite.generations import Generations
from tests.conftest import home
from tests.projections.conftest import execute, live_rows, reached, running, until
from tests.projections.stories import SCRIPT, upload

Fields = dict[bytes, bytes]
Entries = list[tuple[bytes, Fields]]


async def tamper(log: Log, change: Callable[[Entries], Entries]) -> None:
    """Replace the entries of the stream in one transaction."""
    redis: Any = log.redis
    key = log.keys.log(home(log))
    entries = change(cast("Entries", await redis.xrange(key)))
    transaction = redis.pipeline(transaction=True)
    transaction.delete(key)
    for entry_id, fields in entries:
        transaction.xadd(key, fields, id=entry_id)
    await transaction.execute()


def with_another_actor(entries: Entries) -> Entries:
    """Change the actor of the second event."""
    fields = entries[1][1]
    event = msgspec.msgpack.decode(fields[b"b"])
    event["metadata"]["actor"] = "client:mallory"
    fields[b"b"] = msgspec.msgpack.encode(event)
    return entries


def history_of(path: Path) -> list[tuple[Any, ...]]:
    with closing(open_reader(path)) as db:
        return db.execute("SELECT * FROM history ORDER BY partition, ms, seq")


def live(generations: Generations) -> Path:
    path = generations.current()
    assert path is not None
    return path


async def test_a_generation_without_extra_events_is_not_kept(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()

    report = await rebuild(log, generations)

    assert (report.kept, generations.kept()) == (None, [])
    assert {path.name for path in generations.folder.glob("*.sqlite")} == {
        report.generation,
        report.previous,
    }


async def test_a_generation_from_before_the_log_was_changed_is_kept(
    log: Log, projector: Projector, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    before = live_rows(generations)["history"]
    await tamper(log, with_another_actor)

    report = await rebuild(log, generations)

    (kept,) = generations.kept()
    assert report.kept == str(kept)
    assert sorted(history_of(kept), key=repr) == before
    assert live_rows(generations)["history"] != before
    assert str(report).startswith(f"the old generation is kept in {kept}: its event ")
    assert "kept in" not in caplog.text


async def test_a_projector_keeps_the_events_that_the_log_has_lost(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    async with running(projector):
        await until(lambda: generations.current() is not None, "a read model")
        await reached(log, generations)
    before, partition = history_of(live(generations)), home(log)
    await tamper(log, lambda entries: entries[:-2])

    async with running(Projector(log, generations)):
        await until(lambda: bool(generations.kept_of(partition)), "the lost events")
        await until(lambda: history_of(live(generations)) != before, "what is left")
        await reached(log, generations)

    (kept,) = generations.kept_of(partition)
    assert history_of(kept) == before[-2:]


async def test_a_generation_is_kept_with_the_content_of_its_wal(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    path = generations.current()
    assert path is not None

    with closing(open_writer(path)) as writer:
        writer.execute("UPDATE history SET body = x'78'")
        assert path.with_name(f"{path.name}-wal").stat().st_size > 0
        await rebuild(log, generations)

    assert {row[-1] for row in history_of(generations.kept()[0])} == {b"x"}


async def test_a_generation_that_cannot_be_read_is_kept(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    path = generations.current()
    assert path is not None
    path.write_bytes(b"rubbish!" * 1000)

    report = await rebuild(log, generations)

    assert generations.kept()[0].read_bytes() == b"rubbish!" * 1000
    assert "cannot be compared" in (report.evidence or "")


async def test_a_projector_logs_once_what_it_keeps(
    log: Log, projector: Projector, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    path = generations.current()
    assert path is not None
    path.write_bytes(b"rubbish!" * 1000)

    await Projector(log, generations).catch_up()

    (kept,) = generations.kept()
    assert caplog.text.count("kept in") == 1
    assert f"the old generation is kept in {kept}: it cannot be compared" in caplog.text


async def test_a_generation_of_another_version_is_compared_by_positions_only(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    path = generations.current()
    assert path is not None
    with closing(open_writer(path)) as writer:
        writer.execute("UPDATE history SET body = x'00'")
        writer.execute("PRAGMA user_version = 1")

    await rebuild(log, generations)

    assert generations.kept() == []


async def test_a_generation_whose_pointer_was_lost_is_kept_too(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    old = generations.current()
    assert old is not None
    (generations.folder / "current").unlink()
    await tamper(log, with_another_actor)

    await rebuild(log, generations)

    assert [path.name for path in generations.kept()] == [old.name]


async def test_the_oldest_are_kept_and_no_more_than_the_bound(
    log: Log, projector: Projector, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(log, upload(1), upload(2))
    await projector.catch_up()
    names: list[str] = []
    for _ in range(generations.most_kept + 1):
        current = generations.current()
        assert current is not None
        names.append(current.name)
        await rebuild(log, generations, keep=True)

    assert [path.name for path in generations.kept()] == names[:-1]
    assert (
        f"the old generation {names[-1]} stays only until the next rebuild, because 2 are kept"
    ) in caplog.text
    shutil.rmtree(generations.folder / "kept")
    await rebuild(log, generations, keep=True)
    assert len(generations.kept()) == 1


async def test_a_generation_that_a_killed_rebuild_has_kept_is_examined_by_the_next_one(
    log: Log, projector: Projector, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()

    for _ in range(generations.most_kept + 1):
        await killed_after_its_switch(log, generations, monkeypatch)
        assert len(generations.unexamined()) == 1
        assert generations.all_kept() == []
    report = await rebuild(log, generations)

    assert report.kept is None
    assert list((generations.folder / "kept").iterdir()) == []


async def test_evidence_that_a_killed_rebuild_has_kept_stays(
    log: Log, projector: Projector, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    before = history_of(live(generations))
    await tamper(log, with_another_actor)
    await killed_after_its_switch(log, generations, monkeypatch)

    await rebuild(log, generations)

    (kept,) = generations.kept()
    assert history_of(kept) == before


class Killed(BaseException):
    """As the end of a process, and not an error of the work."""


async def killed_after_its_switch(
    log: Log, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebuild until the new generation is live, and no further."""
    switch = generations.switch

    def switch_and_end(path: Path, **options: Any) -> None:
        switch(path, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(generations, "switch", switch_and_end)
        with pytest.raises(Killed):
            await rebuild(log, generations)
