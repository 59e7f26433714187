"""A worker reports each run to its observer."""

import logging
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from domain.photo.commands import DeletePhoto
from domain.pipeline.stages import Task
from handlers.decoder.pool import DecoderPool
from handlers.worker.observing import Ended, StageRun, observe_run
from handlers.worker.worker import Worker
from store import log_context
from store.blobs.folder import FolderBlobs
from store.errors import Lost
from store.log.log import Log
from store.log_context import Subject
from store.queue import liveness
from tests.conftest import CONTEXT
from tests.handlers.worker.test_worker import DEADLINE_S, types_when_ended, uploaded
from tests.system.photos import jpeg

TASK = Task(
    photo_id="p",
    client_id="alice",
    job_id="j",
    stage="metadata",
    priority=5,
    trace_id="t",
    cause="0:1-0",
)


@pytest.fixture
async def children() -> AsyncGenerator[DecoderPool]:
    async with DecoderPool(count=1) as pool:
        yield pool


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path)


@pytest.fixture
def runs() -> list[StageRun]:
    return []


@pytest.fixture
async def worker(
    log: Log, blobs: FolderBlobs, children: DecoderPool, runs: list[StageRun]
) -> AsyncGenerator[Worker]:
    """A running worker."""
    worker = Worker(log, blobs, children, consumer="one", observe=runs.append)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        yield worker
        worker.stop()


async def test_each_run_of_a_stage_is_reported_with_its_trace(
    log: Log, blobs: FolderBlobs, worker: Worker, runs: list[StageRun]
) -> None:
    good = await uploaded(log, blobs, jpeg("one"), "quick_processing")
    await types_when_ended(log, good.photo_id)
    delete = DeletePhoto(photo_id=good.photo_id)
    await log.execute(delete, client_id="alice", context=CONTEXT)
    await types_when_ended(log, good.photo_id, ("photo.erased",))
    bad = await uploaded(log, blobs, b"\xff\xd8\xff\xe0 not a picture")
    await types_when_ended(log, bad.photo_id)

    with anyio.fail_after(DEADLINE_S):
        while len(runs) < 4 or worker.in_hand:  # reported after the append that others see
            await anyio.sleep(0.005)
    assert [(run.task.photo_id, run.task.stage, run.outcome) for run in runs] == [
        (good.photo_id, "validation", "completed"),
        (good.photo_id, "thumbnails", "completed"),
        (good.photo_id, "erasure", "completed"),
        (bad.photo_id, "validation", "failed"),
    ]
    assert {run.task.trace_id for run in runs} == {CONTEXT.trace_id}
    assert all(run.seconds > 0 for run in runs)
    assert len({run.span_id for run in runs}) == 4


async def test_an_idle_worker_is_counted(log: Log, worker: Worker) -> None:
    with anyio.fail_after(DEADLINE_S):
        while await liveness.workers(log, 60_000) != 1:
            await anyio.sleep(0.005)

    assert worker.in_hand == 0


async def test_a_takeover_is_counted_and_logged_with_its_ids(
    log: Log, blobs: FolderBlobs, children: DecoderPool, caplog: pytest.LogCaptureFixture
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))
    dead = Worker(
        log, blobs, DecoderPool(count=1), consumer="host:1:aaaa"
    )  # its decoders never start
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dead.run)
        await types_when_ended(log, command.photo_id, ("photo.processing.started",))
        assert dead.in_hand == 1
        tasks.cancel_scope.cancel()

    with caplog.at_level(logging.INFO, "photolog.worker"):
        heir = Worker(log, blobs, children, consumer="host:1:bbbb", dead="host:1:")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heir.run)
            await types_when_ended(log, command.photo_id)
            heir.stop()

    assert heir.taken_over == 1
    [line] = [each for each in caplog.records if each.getMessage() == "took over validation"]
    assert vars(line)["subject"] == Subject(
        photo_id=command.photo_id, job_id=command.job_id, trace_id=CONTEXT.trace_id
    )


@pytest.mark.parametrize(
    ("error", "outcome"), [(Lost("late"), "lost"), (OSError("away"), "interrupted")]
)
async def test_a_run_that_ends_without_a_result_is_reported_as_such(
    error: Exception, outcome: str, runs: list[StageRun]
) -> None:
    async def work() -> Ended:
        raise error

    with pytest.raises(type(error)):
        await observe_run(runs.append, TASK, work())

    assert [run.outcome for run in runs] == [outcome]


async def test_the_work_runs_in_the_trace_of_its_task(runs: list[StageRun]) -> None:
    seen: list[Subject] = []

    async def work() -> Ended:
        seen.append(log_context.current())
        return "completed"

    await observe_run(runs.append, TASK, work())

    assert seen == [Subject(trace_id="t", span_id=runs[0].span_id, photo_id="p", job_id="j")]
