"""The checker finds what a photo's history must not contain."""

import pytest

from tests.system.ledger import STAGES, UPLOAD_AND_PROCESSING, Ledger


async def test_a_history_without_defects_is_accepted(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.process(photo_id)

    found = await ledger.examined()

    assert found.wrong == []
    assert (found.completed, found.failed, found.erased) == ({photo_id}, {}, set[str]())


async def test_a_dead_letter_with_a_reason_is_an_end(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.attempt(photo_id, "validation", retry_at=None)
    await ledger.fail(photo_id, "validation")

    found = await ledger.examined()

    assert found.wrong == []
    assert found.failed[photo_id]["error"] == "It died."


async def test_a_failed_attempt_may_be_followed_by_a_successful_one(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.attempt(photo_id, "validation", 1)
    await ledger.attempt(photo_id, "validation", 2)
    await ledger.process(photo_id)

    found = await ledger.examined()

    assert found.wrong == []
    assert found.completed == {photo_id}


async def test_a_retry_goes_on_after_the_stages_that_are_done(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.stage(photo_id, "validation")
    await ledger.fail(photo_id, "metadata")
    await ledger.request(photo_id, "validation")
    for stage in STAGES[1:]:
        await ledger.stage(photo_id, stage, "job-2")
    await ledger.complete(photo_id, "job-2")

    found = await ledger.examined()

    assert found.wrong == []
    assert (found.completed, found.failed) == ({photo_id}, {})


async def test_a_dead_letter_may_be_discarded(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.fail(photo_id, "validation")
    await ledger.tell("photo.processing.discarded", photo_id, {"jobId": "job-1"})

    found = await ledger.examined()

    assert found.wrong == []


async def test_a_photo_may_be_deleted_at_any_time(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.stage(photo_id, "validation")
    await ledger.tell("photo.deleted", photo_id)
    await ledger.tell("photo.erased", photo_id, metadata={"cause": ledger.last})
    ledger.remove_files(photo_id)

    found = await ledger.examined()

    assert found.wrong == []
    assert found.erased == {photo_id}


async def test_a_broken_chain_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.process(photo_id)
    await ledger.tell("photo.described", photo_id, metadata={"prev": "f" * 64})

    problem = f"{photo_id}: the chain breaks at version {UPLOAD_AND_PROCESSING + 1}"
    assert (await ledger.examined()).wrong == [problem]


async def test_a_version_that_is_missing_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.process(photo_id)
    await ledger.take_out(1)

    found = await ledger.examined()

    assert f"{photo_id}: the chain breaks at version 2" in found.problems


async def test_a_stage_result_that_came_twice_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.stage(photo_id, "validation")
    await ledger.stage(photo_id, "validation")
    await ledger.fail(photo_id, "metadata")

    assert (await ledger.examined()).wrong == [
        f"{photo_id}: validation was done again",
        f"{photo_id}: photo.processing.stage.completed job-1 validation came 2 times",
    ]


async def test_an_attempt_that_failed_twice_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.attempt(photo_id, "validation", 1)
    await ledger.attempt(photo_id, "validation", 1)
    await ledger.process(photo_id)

    problem = f"{photo_id}: photo.processing.stage.failed job-1 validation 1 came 2 times"
    assert (await ledger.examined()).wrong == [problem]


async def test_a_retry_that_repeats_finished_stages_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.stage(photo_id, "validation")
    await ledger.fail(photo_id, "metadata")
    await ledger.request(photo_id, "validation")
    for stage in STAGES:
        await ledger.stage(photo_id, stage, "job-2")
    await ledger.complete(photo_id, "job-2")

    assert (await ledger.examined()).wrong == [f"{photo_id}: validation was done again"]


async def test_a_retry_after_stages_that_were_never_done_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.fail(photo_id, "validation")
    await ledger.request(photo_id, *STAGES[:4])
    await ledger.stage(photo_id, "placeholder", "job-2")
    await ledger.complete(photo_id, "job-2")

    problem = f"{photo_id}: goes on after stages that were never done: {sorted(STAGES[:4])}"
    assert (await ledger.examined()).wrong == [problem]


async def test_a_job_asked_for_while_another_runs_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.request(photo_id)
    await ledger.fail(photo_id, "validation", "job-2")

    problem = f"{photo_id}: a job was asked for while another ran"
    assert (await ledger.examined()).wrong == [problem]


async def test_a_stage_before_the_one_it_waits_for_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.stage(photo_id, "metadata")
    await ledger.fail(photo_id, "validation")

    problem = f"{photo_id}: metadata was done before validation"
    assert (await ledger.examined()).wrong == [problem]


@pytest.mark.parametrize("missing", ["metadata", "optimization", "placeholder"])
async def test_a_job_that_completed_without_a_stage_is_found(ledger: Ledger, missing: str) -> None:
    photo_id = await ledger.upload()
    for stage in STAGES:
        if stage != missing:
            await ledger.stage(photo_id, stage)
    await ledger.complete(photo_id)

    assert (await ledger.examined()).wrong == [f"{photo_id}: completed without ['{missing}']"]


async def test_a_result_of_a_job_that_has_ended_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.fail(photo_id, "validation")
    await ledger.stage(photo_id, "validation")

    problem = f"{photo_id}: photo.processing.stage.completed after the job's end"
    assert (await ledger.examined()).wrong == [problem]


async def test_a_result_of_another_job_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.stage(photo_id, "validation", "job-0")
    await ledger.fail(photo_id, "metadata")

    problem = f"{photo_id}: photo.processing.stage.completed of a job that is not the photo's"
    assert (await ledger.examined()).wrong == [problem]


async def test_a_failure_with_neither_a_retry_nor_an_end_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.attempt(photo_id, "validation", retry_at=None)
    await ledger.stage(photo_id, "validation")
    await ledger.fail(photo_id, "metadata")

    kind = "photo.processing.stage.completed"
    problem = f"{photo_id}: {kind} after a failure that is not tried again"
    assert (await ledger.examined()).wrong == [problem]


@pytest.mark.parametrize("name", ["error", "category", "stage"])
async def test_a_dead_letter_without_a_reason_is_found(ledger: Ledger, name: str) -> None:
    photo_id = await ledger.upload()
    data = {"jobId": "job-1", "stage": "validation", "category": "data", "error": "No."}
    await ledger.tell("photo.processing.failed", photo_id, data | {name: ""})

    assert (await ledger.examined()).wrong == [f"{photo_id}: a dead letter without a reason"]


async def test_discarding_a_photo_that_has_not_failed_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.process(photo_id)
    await ledger.tell("photo.processing.discarded", photo_id, {"jobId": "job-1"})

    assert (await ledger.examined()).wrong == [f"{photo_id}: discarded though it had not failed"]


async def test_an_unfinished_photo_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.stage(photo_id, "validation")

    assert (await ledger.examined()).wrong == [f"{photo_id}: unfinished"]


async def test_a_photo_that_waits_for_a_retry_is_unfinished(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.attempt(photo_id, "validation")

    assert (await ledger.examined()).wrong == [f"{photo_id}: unfinished"]


async def test_a_deleted_photo_that_was_not_erased_is_unfinished(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.process(photo_id)
    await ledger.tell("photo.deleted", photo_id)

    assert (await ledger.examined()).wrong == [f"{photo_id}: unfinished"]


async def test_an_event_after_the_deletion_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.tell("photo.deleted", photo_id)
    await ledger.tell("photo.processing.started", photo_id, {"jobId": "job-1"})
    await ledger.tell("photo.erased", photo_id)
    ledger.remove_files(photo_id)

    problem = f"{photo_id}: photo.processing.started after the photo was deleted"
    assert (await ledger.examined()).wrong == [problem]


async def test_an_erasure_without_a_deletion_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.fail(photo_id, "validation")
    await ledger.tell("photo.erased", photo_id)
    ledger.remove_files(photo_id)

    assert (await ledger.examined()).wrong == [f"{photo_id}: erased though it was not deleted"]


async def test_an_event_without_an_upload_before_it_is_found(ledger: Ledger) -> None:
    await ledger.tell("photo.deleted", "nobody")
    await ledger.tell("photo.erased", "nobody")

    found = await ledger.examined()

    assert "nobody: photo.deleted where the photo is not known" in found.problems


async def test_a_second_upload_of_a_photo_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.fail(photo_id, "validation")
    await ledger.upload(photo_id=photo_id)
    await ledger.fail(photo_id, "validation")

    found = await ledger.examined()

    assert f"{photo_id}: photo.uploaded where the photo is known" in found.problems


async def test_a_history_of_two_clients_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.fail(photo_id, "validation")
    await ledger.tell("photo.described", photo_id, metadata={"clientId": "bob"})

    assert (await ledger.examined()).wrong == [f"{photo_id}: photo.described is of another client"]
