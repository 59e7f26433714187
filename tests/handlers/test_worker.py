import hashlib
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from domain.commands import DeletePhoto, UploadPhoto
from domain.pipeline import PIPELINES
from handlers.children import Children
from handlers.worker import Worker, WorkerSettings
from store.blobs import FolderBlobs, original_key
from store.log import Log, Recorded
from tests.conftest import CONTEXT
from tests.system.checker import examine
from tests.system.photos import jpeg

DEADLINE_S = 20.0
ENDS = ("photo.processing.completed", "photo.processing.failed", "photo.erased")


@pytest.fixture(scope="module")
async def children() -> AsyncGenerator[Children]:
    async with Children(count=2) as pool:
        yield pool


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path)


Working = Callable[..., AbstractAsyncContextManager[Worker]]


@pytest.fixture
def working(log: Log, blobs: FolderBlobs, children: Children) -> Working:
    """Runs a worker for the time of a context."""

    @asynccontextmanager
    async def work(
        consumer: str = "one",
        *,
        dead: str | None = None,
        pool: Children = children,
        settings: WorkerSettings | None = None,
    ) -> AsyncGenerator[Worker]:
        worker = Worker(log, blobs, pool, consumer=consumer, dead=dead, settings=settings)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            yield worker
            worker.stop()

    return work


async def uploaded(
    log: Log, blobs: FolderBlobs, data: bytes, pipeline: str = "full_processing"
) -> UploadPhoto:
    """The photo as the gateway leaves it."""
    photo_id = str(uuid.uuid4())
    await blobs.put(original_key(photo_id), data)
    command = UploadPhoto(
        photo_id=photo_id,
        job_id=str(uuid.uuid4()),
        client_id="alice",
        session_id=None,
        original_filename="a.jpg",
        mime_type="image/jpeg",
        file_size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        bucket=blobs.bucket,
        key=original_key(photo_id),
        pipeline=pipeline,
        priority=5,
    )
    await log.execute(command, client_id="alice", context=CONTEXT)
    return command


async def history(log: Log, photo_id: str) -> list[Recorded]:
    return [each async for each in log.scan(0) if each.event.data.photo_id == photo_id]


async def types_when_ended(log: Log, photo_id: str, ends: tuple[str, ...] = ENDS) -> list[str]:
    """The types of the photo's events once its job has ended."""
    position = None
    with anyio.fail_after(DEADLINE_S):
        while True:
            types = [each.event.type for each in await history(log, photo_id)]
            if any(end in types for end in ends):
                return types
            position = position or await log.end(0)
            seen = await log.read(position, block_ms=1_000)
            position = seen[-1].position if seen else position


async def test_a_photo_goes_through_all_its_stages(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one", (800, 600)))

    async with working():
        types = await types_when_ended(log, command.photo_id)

    assert types[:2] == ["photo.uploaded", "photo.processing.started"]
    assert types.count("photo.thumbnail.generated") == 3
    assert types.count("photo.processing.stage.completed") == len(PIPELINES["full_processing"])
    assert types[-1] == "photo.processing.completed"
    found = await examine(log, blobs)
    assert (found.problems, found.stray) == ([], [])


async def test_a_short_pipeline_runs_only_its_own_stages(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"), "quick_processing")

    async with working():
        types = await types_when_ended(log, command.photo_id)

    assert types.count("photo.processing.stage.completed") == 2


async def test_every_event_of_a_stage_names_its_cause_and_trace(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))

    async with working():
        await types_when_ended(log, command.photo_id)

    events = await history(log, command.photo_id)
    positions = {str(each.position) for each in events}
    for each in events[1:]:
        assert each.event.metadata.cause in positions
        assert each.event.metadata.trace_id == CONTEXT.trace_id
        assert each.event.metadata.actor.startswith("stage:")


async def test_a_file_that_is_no_picture_fails_with_its_reason_and_keeps_its_original(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, b"\xff\xd8\xff\xe0 not a picture")

    async with working():
        types = await types_when_ended(log, command.photo_id)

    assert types[-2:] == ["photo.processing.stage.failed", "photo.processing.failed"]
    failed = msgspec.msgpack.decode((await history(log, command.photo_id))[-1].body)["data"]
    assert (failed["category"], failed["stage"]) == ("data", "validation")
    assert failed["code"] == "unreadable-image"
    assert await blobs.size(command.key) == command.file_size


async def test_one_bad_photo_does_not_stop_the_next(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    await uploaded(log, blobs, b"\xff\xd8\xff\xe0 bad")
    good = await uploaded(log, blobs, jpeg("good"))

    async with working():
        types = await types_when_ended(log, good.photo_id)

    assert types[-1] == "photo.processing.completed"


async def test_an_original_that_is_gone_fails_with_that_reason(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))
    await blobs.delete(command.key)

    async with working():
        await types_when_ended(log, command.photo_id)

    failed = msgspec.msgpack.decode((await history(log, command.photo_id))[-1].body)["data"]
    assert failed["code"] == "blob-missing"


async def test_deleting_a_photo_removes_its_files(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))

    async with working():
        await types_when_ended(log, command.photo_id)
        delete = DeletePhoto(photo_id=command.photo_id)
        await log.execute(delete, client_id="alice", context=CONTEXT)
        types = await types_when_ended(log, command.photo_id, ("photo.erased",))

    assert types[-2:] == ["photo.deleted", "photo.erased"]
    assert await blobs.keys("") == []


async def test_a_photo_deleted_before_its_turn_is_erased_and_not_processed(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))
    delete = DeletePhoto(photo_id=command.photo_id)
    await log.execute(delete, client_id="alice", context=CONTEXT)

    async with working():
        types = await types_when_ended(log, command.photo_id)

    assert types == ["photo.uploaded", "photo.deleted", "photo.erased"]
    assert await blobs.keys("") == []


async def test_a_restarted_worker_takes_over_what_the_dead_one_held(
    log: Log, blobs: FolderBlobs, working: Working, children: Children
) -> None:
    photos = [await uploaded(log, blobs, jpeg(f"{n}")) for n in range(10)]
    async with anyio.create_task_group() as tasks:
        worker = Worker(log, blobs, children, consumer="host:1:aaaa")
        tasks.start_soon(worker.run)
        await types_when_ended(log, photos[0].photo_id, ("photo.processing.stage.completed",))
        tasks.cancel_scope.cancel()  # as a kill would: nothing is handed back

    async with working("host:1:bbbb", dead="host:1:"):
        for photo in photos:
            assert "photo.processing.completed" in await types_when_ended(log, photo.photo_id)

    found = await examine(log, blobs)
    assert (found.problems, found.stray) == ([], [])


async def test_many_workers_count_each_result_once(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    photos = [await uploaded(log, blobs, jpeg(f"{n}")) for n in range(12)]

    async with working("one"), working("two"), working("three"):
        for photo in photos:
            await types_when_ended(log, photo.photo_id)

    found = await examine(log, blobs)
    assert (found.problems, found.stray) == ([], [])
    assert len(found.completed) == len(photos)


async def test_a_stopped_worker_finishes_what_it_holds(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    photos = [await uploaded(log, blobs, jpeg(f"{n}")) for n in range(6)]

    async with working():
        await types_when_ended(log, photos[0].photo_id, ("photo.processing.started",))

    pending = 0
    for key, stage in log.keys.lanes(0, tuple(PIPELINES["full_processing"])):
        summary = await log.redis.xpending(key, stage)
        pending += summary["pending"]
    assert pending == 0


async def test_a_task_that_stalls_too_often_fails_its_photo(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))
    quick = WorkerSettings(stalled_after_s=0.1, max_stalls=1)
    async with anyio.create_task_group() as tasks:
        worker = Worker(log, blobs, Frozen(), consumer="frozen")  # type: ignore[arg-type]
        tasks.start_soon(worker.run)
        await types_when_ended(log, command.photo_id, ("photo.processing.started",))
        tasks.cancel_scope.cancel()
    async with anyio.create_task_group() as tasks:
        frozen = Frozen()
        worker = Worker(log, blobs, frozen, consumer="frozen-too", settings=quick)  # type: ignore[arg-type]
        tasks.start_soon(worker.run)
        with anyio.fail_after(DEADLINE_S):
            await frozen.began.wait()
        tasks.cancel_scope.cancel()

    async with working("heir", settings=quick):
        await types_when_ended(log, command.photo_id)

    failed = msgspec.msgpack.decode((await history(log, command.photo_id))[-1].body)["data"]
    assert (failed["category"], failed["code"]) == ("resource", "stalled")


class Frozen:
    """A pool of decoders that never answers."""

    def __init__(self) -> None:
        self.began = anyio.Event()

    async def run(self, **_: object) -> None:
        self.began.set()
        await anyio.sleep_forever()
