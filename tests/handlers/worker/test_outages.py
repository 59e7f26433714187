"""During an outage of Redis or the blob store, tasks wait in hand and use no attempts."""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from domain.photo.commands import DeletePhoto
from domain.pipeline.failures import Category
from handlers.stage import Output
from handlers.worker.observing import StageRun
from handlers.worker.worker import Worker
from store.blobs.folder import FolderBlobs
from store.blobs.local_copies import LocalCopies
from store.blobs.s3 import S3Blobs
from store.breaker import Breaker
from store.log.log import Log
from store.redis.connection import connect
from tests.clocks import Clock
from tests.conftest import CONTEXT, bucket_of
from tests.handlers.workers import (
    DEADLINE_S,
    Scripted,
    Working,
    data_of,
    failure,
    types_when_ended,
    uploaded,
)
from tests.s3_servers import S3Server, VersityServer
from tests.servers import url_in, valkey
from tests.system.disks import fill, remount
from tests.system.photos import jpeg

LONG_S = 32.0
FIRST_S = 2.0


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await anyio.sleep(0.005)


class TestBlobs:
    @pytest.fixture
    def refused(self) -> list[str]:
        """The operations that failed because the disk was full."""
        return []

    @pytest.fixture
    def blobs(self, small_disk: Path, refused: list[str]) -> FolderBlobs:
        def observe(operation: str, outcome: str, _: float) -> None:
            if outcome == "full":
                refused.append(operation)

        return FolderBlobs(small_disk, observe=observe)

    async def test_a_full_disk_costs_no_attempt(
        self, log: Log, blobs: FolderBlobs, working: Working, refused: list[str]
    ) -> None:
        command = await uploaded(log, blobs, jpeg("one", (400, 300)))
        fill(blobs.root)

        async with working():
            await until(lambda: bool(refused))
            remount(blobs.root, "size=8m")
            types = await types_when_ended(log, command.photo_id)

        assert types[-1] == "photo.processing.completed"
        assert "photo.processing.stage.failed" not in types
        done = await data_of(log, command.photo_id, "photo.processing.stage.completed")
        assert {each["attempt"] for each in done} == {1}

    async def test_no_stage_runs_again_because_of_a_full_disk(
        self, log: Log, blobs: FolderBlobs, working: Working, refused: list[str]
    ) -> None:
        command = await uploaded(log, blobs, b"nothing that is read", "quick_processing")
        fill(blobs.root)
        pool = Scripted()

        async with working(pool=pool):
            await until(lambda: len(refused) >= 3)
            remount(blobs.root, "size=8m")
            types = await types_when_ended(log, command.photo_id)

        assert types[-1] == "photo.processing.completed"
        assert [stage for stage, _ in pool.ran].count("thumbnails") == 1

    async def test_a_deleted_photo_no_longer_waits(
        self, log: Log, blobs: FolderBlobs, working: Working, refused: list[str]
    ) -> None:
        command = await uploaded(log, blobs, b"nothing that is read", "quick_processing")
        fill(blobs.root)

        async with working(pool=Scripted()) as worker:
            await until(lambda: bool(refused))
            delete = DeletePhoto(photo_id=command.photo_id)
            await log.execute(delete, client_id="alice", context=CONTEXT)
            await types_when_ended(log, command.photo_id, ("photo.erased",))
            await until(lambda: worker.in_hand == 0)


class TestS3:
    @pytest.fixture
    def server(self, own_folder: Path) -> Generator[S3Server]:
        with VersityServer(own_folder) as server:
            yield server

    @pytest.fixture
    async def blobs(self, server: S3Server, tmp_path: Path) -> AsyncGenerator[S3Blobs]:
        copies = LocalCopies(tmp_path / "copies", 1 << 20)
        breaker = Breaker("blobs", failures=1, open_s=FIRST_S)
        blobs = S3Blobs(bucket_of(server.url, "photos"), "worker", copies, breaker=breaker)
        await blobs.prepare()
        yield blobs
        blobs.close()

    async def test_a_server_that_is_killed_in_the_middle_of_a_rendition_costs_no_attempt(
        self, log: Log, blobs: S3Blobs, working: Working, server: S3Server
    ) -> None:
        command = await uploaded(log, blobs, jpeg("one", (400, 300)))

        class Killing(Scripted):
            """Kills the server while the thumbnails are made."""

            async def run(self, *, stage: str, affinity: str, **_: object) -> Output:
                output = await super().run(stage=stage, affinity=affinity)
                if stage == "thumbnails" and self.ran.count((stage, affinity)) == 1:
                    server.kill()
                return output

        async with working(pool=Killing()):
            await until(lambda: blobs.breaker.state == "open")
            await anyio.to_thread.run_sync(server.start)
            types = await types_when_ended(log, command.photo_id)

        assert types[-1] == "photo.processing.completed"
        assert "photo.processing.stage.failed" not in types
        done = await data_of(log, command.photo_id, "photo.processing.stage.completed")
        assert {each["attempt"] for each in done} == {1}
        keys = [blob.key for blob in await blobs.keys("")]
        assert [key.partition("/")[0] for key in keys] == ["originals", "renditions"]


class TestRedis:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def log(self, own_folder: Path, prefix: str, clock: Clock) -> AsyncGenerator[Log]:
        """A log whose server is down, with a breaker whose clock stands still."""
        breaker = Breaker("redis", open_s=LONG_S, clock=clock)
        client = connect(url_in(own_folder), breaker)
        with valkey(own_folder):
            log = await Log.open(client, prefix=prefix)
        yield log
        await client.aclose()

    async def test_lanes_are_not_asked_until_the_back_off_ends(
        self,
        log: Log,
        blobs: FolderBlobs,
        working: Working,
        own_folder: Path,
        clock: Clock,
    ) -> None:
        async with working():
            await until(lambda: log.redis.breaker.state == "open")
            with valkey(own_folder):
                other: Any = connect(url_in(own_folder))
                command = await uploaded(
                    Log(other, log_id=log.log_id, partitions=1, keys=log.keys), blobs, jpeg("one")
                )
                before = await _commands(other)
                refused = clock.looks + 10  # a rejected call reads the clock
                await until(lambda: clock.looks >= refused)
                assert await _commands(other) == before + 1

                clock.now_s = FIRST_S
                types = await types_when_ended(log, command.photo_id)
                await other.aclose()

        assert types[-1] == "photo.processing.completed"

    async def test_no_stage_runs_again_because_its_failure_could_not_be_recorded(
        self, log: Log, blobs: FolderBlobs, own_folder: Path, clock: Clock
    ) -> None:
        server = ExitStack()
        server.enter_context(valkey(own_folder))
        command = await uploaded(log, blobs, b"nothing that is read", "quick_processing")
        runs: list[StageRun] = []
        types: list[str] = []

        class Stopping(Scripted):
            """Stops the server while the first stage runs."""

            async def run(self, *, stage: str, affinity: str, **_: object) -> Output:
                await anyio.to_thread.run_sync(server.close)
                return await super().run(stage=stage, affinity=affinity)

        pool: Any = Stopping(validation=[failure(Category.DATA)])
        worker = Worker(log, blobs, pool, consumer="one", observe=runs.append)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await until(lambda: [run.outcome for run in runs] == 2 * ["interrupted"])
            with valkey(own_folder):
                clock.now_s = FIRST_S
                types = await types_when_ended(log, command.photo_id)
                worker.stop()

        assert types[-1] == "photo.processing.failed"
        assert [stage for stage, _ in pool.ran] == ["validation"]


async def _commands(client: Any) -> int:
    """Return how many commands the server has processed, without this one."""
    return (await client.info("stats"))["total_commands_processed"]
