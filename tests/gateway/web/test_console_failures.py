"""Operators cancel, retry and discard work in the console, one by one and by filter."""

import uuid

from playwright.async_api import expect

from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg
from tests.gateway.web.operators import (
    confirm,
    console,
    drain,
    ended,
    failed_photos,
    operations,
    row,
)

UNREADABLE = "unreadable-image"


async def test_what_waits_is_cancelled_and_retried_by_its_filter(
    stranger: Visitor, system: System
) -> None:
    page = await console(stranger, system, "controls")
    reason = f"wrong camera {uuid.uuid4().hex[:6]}"
    await drain(system, "optimization")
    try:
        ids = [await stranger.upload(f"{n}.jpg", jpeg()) for n in range(3)]
        await expect(row(page, "Stages", "optimization").get_by_role("cell").nth(3)).to_have_text(
            "3"
        )
        await page.get_by_role("button", name="Cancel waiting optimization").click()
        await expect(page.get_by_role("dialog")).to_contain_text(
            "3 tasks are waiting and 0 are delayed"
        )
        await confirm(page, "Cancel waiting", reason)
        await expect(page.get_by_role("status")).to_have_text("3 tasks cancelled, 0 remaining.")
    finally:
        await operations(system, "queues/optimization/resume", reason="a test")

    await page.goto(f"{system.url}/console#dead-letters?stage=optimization&code=cancelled")
    await expect(row(page, "Photos", reason)).to_have_count(3)
    await page.get_by_role("checkbox", name="Select all that match").check()
    # Another operator retries one of them while this one decides.
    await operations(system, "dead-letters/retry", photoIds=ids[:1])
    await page.get_by_role("button", name="Retry").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Retry 3 photos?")
    await confirm(page, "Retry")
    await expect(page.get_by_role("status")).to_have_text(
        "Requested. A photo that fails again is listed below again."
    )
    results = page.get_by_role("region", name="Results")
    await expect(results).to_contain_text(ids[2])
    await expect(row(page, "Results", ids[0])).to_contain_text("no longer matched")
    for each in ids:
        await ended(stranger, each)


async def test_chosen_failures_are_discarded_each_with_a_result(
    stranger: Visitor, system: System
) -> None:
    ids = await failed_photos(stranger, 3)
    owner = (await stranger.get(ids[0]))["clientId"]
    page = await console(stranger, system, f"dead-letters?clientId={owner}")
    await expect(row(page, "Reasons", UNREADABLE)).to_contain_text("3")

    for each in ids[:2]:
        await page.get_by_role("checkbox", name=f"Select {each}").check()
    await page.get_by_role("button", name="Retry").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("2 failures lie in the bytes of the photo")
    await expect(dialog.get_by_text("Reason (required)")).to_be_visible()
    await dialog.get_by_role("button", name="Cancel").click()
    await operations(system, "dead-letters/discard", photoIds=ids[:1], reason="first")
    await page.get_by_role("button", name="Discard").click()
    await confirm(page, "Discard", "screenshots")

    await expect(row(page, "Results", ids[0])).to_contain_text("had been done already")
    await expect(row(page, "Results", ids[1])).to_contain_text("discarded")
    await expect(page.get_by_role("region", name="Photos").get_by_role("row")).to_have_count(2)


async def test_a_job_is_prioritized_cancelled_and_retried_from_its_story(
    stranger: Visitor, system: System
) -> None:
    page = await console(stranger, system, "jobs")
    await drain(system, "validation")
    try:
        photo = await stranger.upload("waits.jpg", jpeg())
        await ended(stranger, photo, "queued")
        job = (await stranger.get(photo))["jobId"]
        await page.goto(f"{system.url}/console#job?id={job}")
        await page.get_by_role("button", name="Change priority").click()
        await page.get_by_role("dialog").get_by_label("Priority").fill("1")
        await confirm(page, "Change priority", "the press waits")
        await expect(page.get_by_role("status")).to_have_text("1 task moved.")
        await page.get_by_role("button", name="Cancel job").click()
        await confirm(page, "Cancel job", "the wrong photo")
        await expect(page.get_by_text("validation: the wrong photo (cancelled)")).to_be_visible()
    finally:
        await operations(system, "queues/validation/resume", reason="a test")

    await page.get_by_role("button", name="Retry").click()
    await confirm(page, "Retry")
    await expect(page.locator(".facts")).to_contain_text("completed")
    assert job not in page.url
