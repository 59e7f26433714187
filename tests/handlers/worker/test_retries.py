"""After a failure: a retry when it is due, an alert, or a dead letter."""

import hashlib
from datetime import datetime

import anyio
import msgspec
import pytest

from domain.photo.commands import DeletePhoto, RetryProcessing
from domain.pipeline.failures import Category
from domain.pipeline.retries import STRATEGIES, Strategies
from handlers.stage import Output
from handlers.worker.settings import WorkerSettings
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from tests.conftest import CONTEXT
from tests.handlers.workers import (
    DEADLINE_S,
    Frozen,
    Scripted,
    Working,
    data_of,
    failure,
    history,
    types_when_ended,
    uploaded,
)
from tests.system.photos import jpeg

AT_ONCE: Strategies = {
    category: msgspec.structs.replace(strategy, base_s=0.05, jitter=False)
    for category, strategy in STRATEGIES.items()
}
"""The real strategies, almost without delays."""


async def test_a_stage_that_failed_for_a_while_succeeds_in_the_end(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Scripted(metadata=[failure(Category.TEMPORARY), failure(Category.RESOURCE)])
    command = await uploaded(log, blobs, jpeg("one"))

    async with working(pool=pool, strategies=AT_ONCE):
        types = await types_when_ended(log, command.photo_id)

    assert types[-1] == "photo.processing.completed"
    attempts = await data_of(log, command.photo_id, "photo.processing.stage.failed")
    assert [(each["attempt"], each["category"]) for each in attempts] == [
        (1, "temporary"),
        (2, "resource"),
    ]
    done = await data_of(log, command.photo_id, "photo.processing.stage.completed")
    assert {each["stage"]: each["attempt"] for each in done}["metadata"] == 3


async def test_a_retry_does_not_run_before_it_is_due(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Scripted(validation=[failure(Category.TEMPORARY)])
    command = await uploaded(log, blobs, jpeg("one"), "quick_processing")
    slow = {
        **AT_ONCE,
        Category.TEMPORARY: msgspec.structs.replace(AT_ONCE[Category.TEMPORARY], base_s=0.4),
    }

    async with working(pool=pool, strategies=slow):
        await types_when_ended(log, command.photo_id)

    (failed,) = await data_of(log, command.photo_id, "photo.processing.stage.failed")
    entries = await history(log, command.photo_id)
    first, second = [
        each.position.ms
        for each in entries
        if each.event.type in ("photo.processing.stage.failed", "photo.processing.stage.completed")
    ][:2]
    due_ms = round(datetime.fromisoformat(failed["retryAt"]).timestamp() * 1000)
    assert second >= due_ms
    assert first < due_ms <= first + 400


async def test_the_last_attempt_leads_to_the_dead_letters(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Scripted(metadata=[failure(Category.TEMPORARY, "flaky") for _ in range(3)])
    command = await uploaded(log, blobs, jpeg("one"))

    async with working(pool=pool, strategies=AT_ONCE):
        await types_when_ended(log, command.photo_id)

    (failed,) = await data_of(log, command.photo_id, "photo.processing.failed")
    assert (failed["attempts"], failed["code"], failed["category"]) == (3, "flaky", "temporary")
    assert await blobs.size(command.key) == command.file_size


@pytest.mark.parametrize("category", ["data", "logic", "security", "configuration"])
async def test_permanent_failures_are_not_retried(
    log: Log, blobs: FolderBlobs, working: Working, category: str
) -> None:
    pool = Scripted(validation=[failure(Category(category))])
    command = await uploaded(log, blobs, jpeg("one"))

    async with working(pool=pool, strategies=AT_ONCE):
        types = await types_when_ended(log, command.photo_id)

    assert types.count("photo.processing.stage.failed") == 1
    assert types[-1] == "photo.processing.failed"


async def test_a_retry_does_not_redo_what_is_done(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Scripted(placeholder=[failure(Category.DATA)])
    command = await uploaded(log, blobs, jpeg("one"))

    async with working(pool=pool, strategies=AT_ONCE, settings=WorkerSettings(concurrency=1)):
        await types_when_ended(log, command.photo_id, ("photo.processing.failed",))
        ran_before = len(pool.ran)
        await log.execute(
            RetryProcessing(photo_id=command.photo_id, job_id="again"),
            client_id="alice",
            context=CONTEXT,
        )
        await types_when_ended(log, command.photo_id, ("photo.processing.completed",))

    done = await data_of(log, command.photo_id, "photo.processing.stage.completed")
    before = {each["stage"] for each in done if each["jobId"] == command.job_id}
    after = {stage for stage, _ in pool.ran[ran_before:]}
    assert "placeholder" in after
    assert before.isdisjoint(after)


async def test_a_bug_raises_one_alert_for_the_operators(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Scripted(validation=[failure(Category.LOGIC, "bug") for _ in range(5)])
    photos = [await uploaded(log, blobs, jpeg(f"{n}")) for n in range(5)]

    async with working(pool=pool, strategies=AT_ONCE):
        for photo in photos:
            await types_when_ended(log, photo.photo_id)

    (alert,) = await data_of(log, "", "pipeline.alerted")
    assert (alert["stage"], alert["level"], alert["code"]) == ("validation", "critical", "bug")


async def test_a_worker_that_stops_hands_back_what_it_cannot_finish(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))
    frozen = Frozen()
    async with working("stuck", pool=frozen, settings=WorkerSettings(drain_s=0.1)):
        with anyio.fail_after(DEADLINE_S):
            await frozen.began.wait()

    async with working("other"):  # the task has not stalled: that takes 30 seconds
        types = await types_when_ended(log, command.photo_id)

    assert types[-1] == "photo.processing.completed"


async def test_a_result_that_comes_after_the_task_was_taken_over_is_dropped(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"), "quick_processing")
    late = Late()
    patient = WorkerSettings(stalled_after_s=3_600.0, drain_s=0.1)
    async with working("late", pool=late, settings=patient):
        with anyio.fail_after(DEADLINE_S):
            await late.began.wait()
        async with working("heir", settings=WorkerSettings(stalled_after_s=0.2)):
            await types_when_ended(log, command.photo_id)
            late.go_on.set()
            with anyio.fail_after(DEADLINE_S):
                await late.ended.wait()

    done = await data_of(log, command.photo_id, "photo.processing.stage.completed")
    assert sorted(each["stage"] for each in done) == ["thumbnails", "validation"]


async def test_a_result_that_is_dropped_replaces_no_file(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"), "quick_processing")
    late = Late("thumbnails")
    patient = WorkerSettings(stalled_after_s=3_600.0)
    async with working("late", pool=late, settings=patient):
        with anyio.fail_after(DEADLINE_S):
            await late.began.wait()
        async with working("heir", settings=WorkerSettings(stalled_after_s=0.2)):
            await types_when_ended(log, command.photo_id)
        late.go_on.set()

    assert late.ended.is_set()
    made = await data_of(log, command.photo_id, "photo.thumbnail.generated")
    assert made
    for each in made:
        data = (blobs.root / each["thumbnail"]["key"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == each["thumbnail"]["sha256"]


async def test_a_late_worker_leaves_no_files_of_an_erased_photo(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"), "quick_processing")
    late = Late("thumbnails")
    patient = WorkerSettings(stalled_after_s=3_600.0)
    async with working("late", pool=late, settings=patient):
        with anyio.fail_after(DEADLINE_S):
            await late.began.wait()
        async with working("heir", settings=WorkerSettings(stalled_after_s=0.2)) as heir:
            delete = DeletePhoto(photo_id=command.photo_id)
            await log.execute(delete, client_id="alice", context=CONTEXT)
            await types_when_ended(log, command.photo_id, ("photo.erased",))
            with anyio.fail_after(DEADLINE_S):
                while not heir.taken_over:
                    await anyio.sleep(0.02)
        late.go_on.set()

    assert late.ended.is_set()
    assert await blobs.keys("") == []


class Late(Scripted):
    """A pool that delays its answers for ``stage``, or all answers, until ``go_on``."""

    def __init__(self, stage: str | None = None) -> None:
        super().__init__()
        self.stage = stage
        self.began = anyio.Event()
        self.go_on = anyio.Event()
        self.ended = anyio.Event()

    async def run(self, *, stage: str, affinity: str, **options: object) -> Output:
        if self.stage in (None, stage):
            self.began.set()
            await self.go_on.wait()
        output = await super().run(stage=stage, affinity=affinity, **options)
        if self.stage in (None, stage):
            self.ended.set()
        return output
