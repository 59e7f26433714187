"""The upload session of a page: its totals in the tray, and what can be done with it."""

from typing import Any

import httpx
import pytest
from playwright.async_api import Locator, expect

from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg
from tests.gateway.web.operators import drain, operations

UNREADABLE = jpeg()[:20] + bytes(500)


def total(visitor: Visitor, name: str) -> Locator:
    return visitor.page.locator(f'#tray [data-total="{name}"]')


async def sessions_of(visitor: Visitor) -> list[dict[str, Any]]:
    answer = await visitor.api.get("/api/sessions")
    return answer.raise_for_status().json()["items"]


async def jobs_of(visitor: Visitor) -> list[str]:
    """Return the last jobs of the photos in order of their names."""
    found = (await visitor.api.get("/api/photos")).json()["items"]
    return [each["jobId"] for each in sorted(found, key=lambda each: each["originalFilename"])]


@pytest.mark.parametrize("width", [1280, 390])
async def test_the_tray_counts_what_became_of_an_upload(visitor: Visitor, width: int) -> None:
    await visitor.page.set_viewport_size({"width": width, "height": 844})
    again = jpeg()
    await visitor.upload("known.jpg", again)

    await visitor.drop({"a.jpg": jpeg(), "b.jpg": jpeg(), "known.jpg": again})
    await visitor.drop({"bad.jpg": UNREADABLE})

    await expect(total(visitor, "received")).to_have_text("3 received")
    await expect(total(visitor, "duplicates")).to_have_text("1 uploaded before")
    await expect(total(visitor, "completed")).to_have_text("2 done")
    await expect(total(visitor, "failed")).to_have_text("1 failed")
    await expect(total(visitor, "processing")).to_have_count(0)
    assert [each["received"] for each in await sessions_of(visitor)] == [3]


async def test_the_totals_catch_up_after_the_server_could_not_give_them(visitor: Visitor) -> None:
    visitor.tolerated = ("status of 503",)
    page, sessions = visitor.page, "**/api/sessions/page-*"
    await page.route(sessions, lambda route: route.fulfill(status=503, json={}))
    await visitor.drop({"one.jpg": jpeg()})
    await expect(visitor.card("one.jpg")).to_have_attribute("data-status", "completed")
    async with page.expect_response(sessions):
        pass

    await page.unroute(sessions)

    await expect(total(visitor, "completed")).to_have_text("1 done")


async def test_failures_are_retried_from_the_tray_unless_the_file_is_the_problem(
    visitor: Visitor, system: System
) -> None:
    tray = visitor.page.locator("#tray")
    button = tray.get_by_role("button", name="Retry failed photos")
    note = tray.get_by_text("Photos whose file itself is the problem are not retried.")
    await visitor.drop({"bad.jpg": UNREADABLE})
    await expect(total(visitor, "failed")).to_have_text("1 failed")
    await expect(note).to_be_visible()
    await expect(button).to_be_hidden()
    await drain(system, "optimization")
    try:
        await visitor.drop({"good.jpg": jpeg()})
        await expect(total(visitor, "completed")).to_have_count(0)
        await expect(total(visitor, "processing")).to_have_text("1 in progress")
        bad, good = await jobs_of(visitor)
        await operations(system, f"jobs/{good}/cancel", reason="a test")
    finally:
        await operations(system, "queues/optimization/resume", reason="a test")
    await expect(total(visitor, "failed")).to_have_text("2 failed")

    await button.click()

    await expect(total(visitor, "completed")).to_have_text("1 done")
    await expect(total(visitor, "failed")).to_have_text("1 failed")
    again = await jobs_of(visitor)
    assert again[0] == bad
    assert again[1] != good


async def test_a_finished_upload_is_closed_and_the_next_one_has_a_session_of_its_own(
    visitor: Visitor,
) -> None:
    await visitor.drop({"one.jpg": jpeg()})
    await expect(total(visitor, "completed")).to_have_text("1 done")

    await visitor.page.get_by_role("button", name="Finish this upload").click()

    await expect(visitor.page.locator(".totals")).to_be_hidden()
    (closed,) = await sessions_of(visitor)
    assert closed["status"] == "closed"
    await visitor.drop({"two.jpg": jpeg()})
    await expect(total(visitor, "completed")).to_have_text("1 done")
    assert [each["status"] for each in await sessions_of(visitor)] == ["open", "closed"]


async def test_files_of_a_session_that_was_closed_elsewhere_go_into_another_one(
    visitor: Visitor,
) -> None:
    visitor.tolerated = ("status of 409",)
    await visitor.drop({"one.jpg": jpeg()})
    await expect(total(visitor, "completed")).to_have_text("1 done")
    (session,) = await sessions_of(visitor)
    answer: httpx.Response = await visitor.api.put(
        f"/api/sessions/{session['sessionId']}", json={"status": "closed"}
    )
    answer.raise_for_status()

    await visitor.drop({"two.jpg": jpeg()})

    await expect(visitor.card("two.jpg")).to_have_attribute("data-status", "completed")
    assert len(await sessions_of(visitor)) == 2


BOXES = """() => ["#notice", "#tray"].map(name => {
  const { left, right, top, bottom } = document.querySelector(name).getBoundingClientRect();
  return [left, right, top, bottom];
})"""


@pytest.mark.parametrize("width", [1280, 390, 320])
async def test_a_notice_and_the_tray_never_cover_each_other(visitor: Visitor, width: int) -> None:
    page = visitor.page
    await page.set_viewport_size({"width": width, "height": 844})
    visitor.tolerated = ("status of 400", "status of 415", "status of 503")
    await page.route("**/api/photos?*", lambda route: route.fulfill(status=503, json={}))
    await visitor.drop({"notes.jpg": b"these are only words"})
    await expect(visitor.waiting("notes.jpg")).to_be_visible()

    await page.locator("#order").select_option("uploaded")
    await expect(page.locator("#notice")).to_be_visible()
    # The tray grows below the notice.
    await visitor.drop({"more.jpg": b"these are only words, too", "some.jpg": b""})
    await expect(visitor.waiting("some.jpg")).to_be_visible()

    await page.evaluate("() => new Promise(next => requestAnimationFrame(() => setTimeout(next)))")
    (left, right, top, bottom), (start, end, first, last) = await page.evaluate(BOXES)
    assert right <= start or end <= left or bottom <= first or last <= top
    assert top >= 0
