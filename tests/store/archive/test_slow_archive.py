"""An archive whose every call takes long, or does not end: what it delays, and what it does not."""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from store.archive.archive import READ_AT_ONCE, Archive
from store.archive.archiver import Archiver
from store.archive.settings import SealingSettings, TrimmingSettings
from store.blobs.folder import FolderBlobs
from store.blobs.interface import Blob
from store.log.log import Log
from store.log.recorded import Recorded
from tests.store.archive.segments import (
    archive_all,
    dispatch_all,
    everything,
    fill,
    in_stream,
    trim_all,
)

DELAY_S = 0.01
DEADLINE_S = 30.0


class SlowFolder(FolderBlobs):
    """A folder whose calls take ``DELAY_S`` more, and wait until ``opened``.

    ``most`` is how many reads there were at once.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root, "slow")
        self.opened = anyio.Event()
        self.opened.set()
        self.waiting = anyio.Event()
        self.most = self._now = 0

    async def read(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes]:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await self._delay()
            async for chunk in super().read(key, start, length):
                yield chunk
        finally:
            self._now -= 1

    async def keys(self, prefix: str) -> list[Blob]:
        await self._delay()
        return await super().keys(prefix)

    async def put(self, key: str, data: bytes) -> None:
        await self._delay()
        await super().put(key, data)

    async def _delay(self) -> None:
        self.waiting.set()
        await self.opened.wait()
        await anyio.sleep(DELAY_S)


@pytest.fixture
def slow(tmp_path: Path) -> SlowFolder:
    return SlowFolder(tmp_path / "blobs")


async def test_a_reader_that_waits_for_the_archive_delays_no_other(
    log: Log, slow: SlowFolder
) -> None:
    await fill(log, 8)
    await trim_all(log, slow)
    before, cut = await everything(log), await log.trimmed(0)
    log.archive = Archive(slow, log.log_id)
    slow.opened, slow.waiting = anyio.Event(), anyio.Event()
    found: list[list[object]] = []
    live: list[Recorded] = []

    async def read_all() -> None:
        found.append([*await everything(log)])

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_all)
            await slow.waiting.wait()
            await fill(log, 1)
            live = await log.read(cut)
            assert found == []
            slow.opened.set()

    assert len(live) == await in_stream(log)
    assert found[0] == await everything(log)
    assert found[0][: len(before)] == before


async def test_events_are_appended_while_a_slow_archiver_seals_and_trims(
    log: Log, slow: SlowFolder
) -> None:
    log.archive = archive = Archive(slow, log.log_id)
    archiver = Archiver(
        *(log, slow, archive),
        sealing=SealingSettings(archive_segment_entries=4, archive_settle_s=0.001),
        trimming=TrimmingSettings(archive_keep_s=0.0),
    )
    await fill(log, 20)
    await dispatch_all(log)

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(archiver.archive, 0)
            await slow.waiting.wait()
            await fill(log, 20)

    await dispatch_all(log)
    passed = await archiver.archive(0, now=True)
    assert passed.held
    events = await everything(log)
    assert len(events) == 80
    assert await in_stream(log) < 80
    places = await Archive(slow, log.log_id).places(0)
    heads = [each.head for each in await Archive(slow, log.log_id).chain(places)]
    assert sum(head.entries for head in heads) == 80
    assert len(places) == 20


async def test_many_segments_are_read_at_once_but_not_all(log: Log, slow: SlowFolder) -> None:
    photo_id = (await fill(log, 100))[0]
    await archive_all(log, slow)
    await log.redis.delete(log.keys.photo(0, photo_id))
    log.archive = Archive(slow, log.log_id)
    slow.most = 0

    loaded = await log.load(photo_id, "alice")

    assert loaded.version == 2
    assert 1 < slow.most <= READ_AT_ONCE
