"""The checker finds what a photo's history must not contain."""

import pytest

from tests.system.ledger import STAGES, UPLOAD_AND_PROCESSING, Book


async def test_a_history_without_defects_is_accepted(book: Book) -> None:
    photo_id = await book.upload()
    await book.process(photo_id)

    found = await book.examined()

    assert found.wrong == []
    assert (found.completed, found.failed, found.erased) == ({photo_id}, {}, set[str]())


async def test_a_dead_letter_with_a_reason_is_an_end(book: Book) -> None:
    photo_id = await book.upload()
    await book.attempt(photo_id, "validation", retry_at=None)
    await book.fail(photo_id, "validation")

    found = await book.examined()

    assert found.wrong == []
    assert found.failed[photo_id]["error"] == "It died."


async def test_a_failed_attempt_may_be_followed_by_a_successful_one(book: Book) -> None:
    photo_id = await book.upload()
    await book.attempt(photo_id, "validation", 1)
    await book.attempt(photo_id, "validation", 2)
    await book.process(photo_id)

    found = await book.examined()

    assert found.wrong == []
    assert found.completed == {photo_id}


async def test_a_retry_goes_on_after_the_stages_that_are_done(book: Book) -> None:
    photo_id = await book.upload()
    await book.stage(photo_id, "validation")
    await book.fail(photo_id, "metadata")
    await book.request(photo_id, "validation")
    for stage in STAGES[1:]:
        await book.stage(photo_id, stage, "job-2")
    await book.complete(photo_id, "job-2")

    found = await book.examined()

    assert found.wrong == []
    assert (found.completed, found.failed) == ({photo_id}, {})


async def test_a_dead_letter_may_be_discarded(book: Book) -> None:
    photo_id = await book.upload()
    await book.fail(photo_id, "validation")
    await book.tell("photo.processing.discarded", photo_id, {"jobId": "job-1"})

    found = await book.examined()

    assert found.wrong == []


async def test_a_photo_may_be_deleted_at_any_time(book: Book) -> None:
    photo_id = await book.upload()
    await book.stage(photo_id, "validation")
    await book.tell("photo.deleted", photo_id)
    await book.tell("photo.erased", photo_id, metadata={"cause": book.last})
    book.remove_files(photo_id)

    found = await book.examined()

    assert found.wrong == []
    assert found.erased == {photo_id}


async def test_a_broken_chain_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.process(photo_id)
    await book.tell("photo.described", photo_id, metadata={"prev": "f" * 64})

    problem = f"{photo_id}: the chain breaks at version {UPLOAD_AND_PROCESSING + 1}"
    assert (await book.examined()).wrong == [problem]


async def test_a_version_that_is_missing_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.process(photo_id)
    await book.take_out(1)

    found = await book.examined()

    assert f"{photo_id}: the chain breaks at version 2" in found.problems


async def test_a_stage_result_that_came_twice_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.stage(photo_id, "validation")
    await book.stage(photo_id, "validation")
    await book.fail(photo_id, "metadata")

    assert (await book.examined()).wrong == [
        f"{photo_id}: validation was done again",
        f"{photo_id}: photo.processing.stage.completed job-1 validation came 2 times",
    ]


async def test_an_attempt_that_failed_twice_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.attempt(photo_id, "validation", 1)
    await book.attempt(photo_id, "validation", 1)
    await book.process(photo_id)

    problem = f"{photo_id}: photo.processing.stage.failed job-1 validation 1 came 2 times"
    assert (await book.examined()).wrong == [problem]


async def test_a_retry_that_repeats_finished_stages_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.stage(photo_id, "validation")
    await book.fail(photo_id, "metadata")
    await book.request(photo_id, "validation")
    for stage in STAGES:
        await book.stage(photo_id, stage, "job-2")
    await book.complete(photo_id, "job-2")

    assert (await book.examined()).wrong == [f"{photo_id}: validation was done again"]


async def test_a_retry_after_stages_that_were_never_done_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.fail(photo_id, "validation")
    await book.request(photo_id, *STAGES[:4])
    await book.stage(photo_id, "placeholder", "job-2")
    await book.complete(photo_id, "job-2")

    problem = f"{photo_id}: goes on after stages that were never done: {sorted(STAGES[:4])}"
    assert (await book.examined()).wrong == [problem]


async def test_a_job_asked_for_while_another_runs_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.request(photo_id)
    await book.fail(photo_id, "validation", "job-2")

    problem = f"{photo_id}: a job was asked for while another ran"
    assert (await book.examined()).wrong == [problem]


async def test_a_stage_before_the_one_it_waits_for_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.stage(photo_id, "metadata")
    await book.fail(photo_id, "validation")

    problem = f"{photo_id}: metadata was done before validation"
    assert (await book.examined()).wrong == [problem]


@pytest.mark.parametrize("missing", ["metadata", "optimization", "placeholder"])
async def test_a_job_that_completed_without_a_stage_is_found(book: Book, missing: str) -> None:
    photo_id = await book.upload()
    for stage in STAGES:
        if stage != missing:
            await book.stage(photo_id, stage)
    await book.complete(photo_id)

    assert (await book.examined()).wrong == [f"{photo_id}: completed without ['{missing}']"]


async def test_a_result_of_a_job_that_has_ended_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.fail(photo_id, "validation")
    await book.stage(photo_id, "validation")

    problem = f"{photo_id}: photo.processing.stage.completed after the job's end"
    assert (await book.examined()).wrong == [problem]


async def test_a_result_of_another_job_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.stage(photo_id, "validation", "job-0")
    await book.fail(photo_id, "metadata")

    problem = f"{photo_id}: photo.processing.stage.completed of a job that is not the photo's"
    assert (await book.examined()).wrong == [problem]


async def test_a_failure_with_neither_a_retry_nor_an_end_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.attempt(photo_id, "validation", retry_at=None)
    await book.stage(photo_id, "validation")
    await book.fail(photo_id, "metadata")

    kind = "photo.processing.stage.completed"
    problem = f"{photo_id}: {kind} after a failure that is not tried again"
    assert (await book.examined()).wrong == [problem]


@pytest.mark.parametrize("name", ["error", "category", "stage"])
async def test_a_dead_letter_without_a_reason_is_found(book: Book, name: str) -> None:
    photo_id = await book.upload()
    data = {"jobId": "job-1", "stage": "validation", "category": "data", "error": "No."}
    await book.tell("photo.processing.failed", photo_id, data | {name: ""})

    assert (await book.examined()).wrong == [f"{photo_id}: a dead letter without a reason"]


async def test_discarding_a_photo_that_has_not_failed_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.process(photo_id)
    await book.tell("photo.processing.discarded", photo_id, {"jobId": "job-1"})

    assert (await book.examined()).wrong == [f"{photo_id}: discarded though it had not failed"]


async def test_an_unfinished_photo_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.stage(photo_id, "validation")

    assert (await book.examined()).wrong == [f"{photo_id}: unfinished"]


async def test_a_photo_that_waits_for_a_retry_is_unfinished(book: Book) -> None:
    photo_id = await book.upload()
    await book.attempt(photo_id, "validation")

    assert (await book.examined()).wrong == [f"{photo_id}: unfinished"]


async def test_a_deleted_photo_that_was_not_erased_is_unfinished(book: Book) -> None:
    photo_id = await book.upload()
    await book.process(photo_id)
    await book.tell("photo.deleted", photo_id)

    assert (await book.examined()).wrong == [f"{photo_id}: unfinished"]


async def test_an_event_after_the_deletion_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.tell("photo.deleted", photo_id)
    await book.tell("photo.processing.started", photo_id, {"jobId": "job-1"})
    await book.tell("photo.erased", photo_id)
    book.remove_files(photo_id)

    problem = f"{photo_id}: photo.processing.started after the photo was deleted"
    assert (await book.examined()).wrong == [problem]


async def test_an_erasure_without_a_deletion_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.fail(photo_id, "validation")
    await book.tell("photo.erased", photo_id)
    book.remove_files(photo_id)

    assert (await book.examined()).wrong == [f"{photo_id}: erased though it was not deleted"]


async def test_an_event_without_an_upload_before_it_is_found(book: Book) -> None:
    await book.tell("photo.deleted", "nobody")
    await book.tell("photo.erased", "nobody")

    found = await book.examined()

    assert "nobody: photo.deleted where the photo is not known" in found.problems


async def test_a_second_upload_of_a_photo_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.fail(photo_id, "validation")
    await book.upload(photo_id=photo_id)
    await book.fail(photo_id, "validation")

    found = await book.examined()

    assert f"{photo_id}: photo.uploaded where the photo is known" in found.problems


async def test_a_history_of_two_clients_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.fail(photo_id, "validation")
    await book.tell("photo.described", photo_id, metadata={"clientId": "bob"})

    assert (await book.examined()).wrong == [f"{photo_id}: photo.described is of another client"]
