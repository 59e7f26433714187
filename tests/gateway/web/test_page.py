"""The page in a real browser, on a complete Photolog."""

import os
import re
import signal
from pathlib import Path

import httpx
import pytest
from playwright.async_api import expect

from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg, paused, taken_with_a_camera
from tests.handlers.pictures import unblurred

FOCUSED = "() => document.activeElement.closest('.card')?.dataset.photoId"

STAGES = ("Validation", "Metadata", "Thumbnails", "Placeholder", "Optimization")

BLURHASHES = (
    "005EdZ",  # 1 by 1 wave
    "LEHV6nWB2yk8pyo0adR*.7kCMdnj",  # 4 by 3
    "L05EdZE+10S*t8fQaza}1IAIS7}k",
    "c05EdZE+10t8fQaz1IAIS7t8WXWX5r]%=Y",  # 3 by 5
)


async def test_dropped_photos_appear_immediately_and_get_thumbnails_without_a_reload(
    visitor: Visitor, system: System
) -> None:
    page = visitor.page
    files = {f"{name}.jpg": jpeg() for name in ("one", "two", "three")}
    moved: list[str] = []
    page.on("framenavigated", lambda frame: moved.append(frame.url))

    with paused(system) as resume:
        await visitor.drop(files)
        await expect(visitor.cards.and_(page.locator('[data-status="queued"]'))).to_have_count(3)
        names = await visitor.cards.locator(".name").all_text_contents()
        assert sorted(names) == sorted(files)  # in order of arrival
        marks = visitor.card("two.jpg").get_by_role("list", name="Stages").get_by_role("listitem")
        await expect(marks).to_have_text([f"{stage}: waiting" for stage in STAGES])
        resume()
        await expect(page.locator('.card[data-status="completed"] .thumbnail.shown')).to_have_count(
            3
        )

    await expect(page.locator("#tray")).to_contain_text("3 photos uploaded")
    assert moved == []


async def test_a_waiting_photo_still_shows_its_stages_after_a_reload(
    visitor: Visitor, system: System
) -> None:
    with paused(system):
        await visitor.upload("waits.jpg", jpeg())
        await visitor.page.reload()
        card = visitor.card("waits.jpg")
        await expect(card.locator('.mark[data-state="queued"]')).to_have_count(5)

    await expect(card).to_have_attribute("data-status", "completed")
    await expect(card.locator(".mark")).to_have_count(0)


async def test_after_a_lost_connection_each_event_is_shown_once_and_in_order(
    visitor: Visitor, system: System
) -> None:
    page = visitor.page
    visitor.tolerated = ("Failed to load resource", "net::ERR")
    await visitor.until_all_is_loaded()
    readings: list[str] = []
    page.on("request", lambda request: readings.append(request.url))

    with paused(system) as resume:
        photo_id = await visitor.upload("followed.jpg", jpeg())
        await visitor.card("followed.jpg").get_by_role("link").click()
        await expect(page.locator(".story li")).to_have_count(1)
        os.kill(system.pid_of("gateway"), signal.SIGKILL)
        await expect(page.locator("#connection")).to_have_text("Reconnecting…")
        resume()
        await expect(page.locator("#connection")).to_have_text("Live")

    await expect(page.locator('.story [data-type="photo.processing.completed"]')).to_be_visible()
    assert await visitor.shown_history() == await visitor.history(photo_id)
    assert len(await visitor.shown_history()) == 11
    assert len([url for url in readings if url.endswith("/history")]) == 1
    assert len([url for url in readings if "/api/photos?" in url]) == 0


async def test_a_frozen_gateway_is_noticed_and_what_still_works_is_said(
    visitor: Visitor, system: System
) -> None:
    page, gateway = visitor.page, system.pid_of("gateway")
    os.kill(gateway, signal.SIGSTOP)
    try:
        await expect(page.locator("#connection")).to_have_text("Not responding")
        await expect(page.locator("#connection-note")).to_contain_text("look at what is loaded")
        await visitor.drop({"patient.jpg": jpeg()})
    finally:
        os.kill(gateway, signal.SIGCONT)

    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(page.locator("#connection-note")).to_be_hidden()
    await expect(visitor.card("patient.jpg")).to_have_attribute("data-status", "completed")


async def test_the_viewer_shows_what_the_api_returns(visitor: Visitor) -> None:
    page = visitor.page
    photo_id = await visitor.upload("leica.jpg", taken_with_a_camera())
    card = visitor.card("leica.jpg")
    await expect(card).to_have_attribute("data-status", "completed")

    await card.get_by_role("link").click()

    viewer = page.get_by_role("dialog", name="leica.jpg")
    image = viewer.get_by_role("img", name="leica.jpg")
    await expect(image).to_have_attribute("src", f"/api/photos/{photo_id}/optimized")
    photo = await visitor.get(photo_id)
    gps = photo["gps"]
    shown = {
        "taken": "24 Apr 2014, 12:21",
        "camera": photo["camera"]["model"],
        "exposure": "1/250 s · f/5.6 · ISO 200 · 23 mm",
        "size": f"{photo['width']} × {photo['height']}",
        "place": f"{gps['latitude']:.5f}° N, {-gps['longitude']:.5f}° W",
        "file": f"JPEG, {photo['fileSize'] / 1000:.1f} kB",
        "sha256": photo["sha256"],
    }
    assert photo["takenAt"] == "2014-04-24T12:21:55"
    for detail, text in shown.items():
        await expect(viewer.locator(f'[data-detail="{detail}"] dd')).to_have_text(text)
    await expect(viewer.locator(".story li")).to_have_count(photo["version"])
    assert await visitor.shown_history() == await visitor.history(photo_id)
    async with page.expect_download() as download:
        await viewer.get_by_role("link", name="Download original").click()
    assert (await download.value).suggested_filename == "leica.jpg"


async def test_the_reason_of_a_failure_is_shown(visitor: Visitor) -> None:
    whole = jpeg((400, 300))
    await visitor.drop({"empty.jpg": whole[:20] + bytes(500), "cut.jpg": whole[: len(whole) // 2]})

    failed, cut = visitor.card("empty.jpg"), visitor.card("cut.jpg")
    await expect(failed).to_have_attribute("data-status", "failed")
    photo = await visitor.get(await failed.get_attribute("data-photo-id") or "")
    await expect(failed.locator(".trouble-text")).to_have_text(photo["processingError"])
    await expect(cut).to_have_attribute("data-status", "completed")
    await expect(cut.locator(".badge")).to_have_text("Damaged")
    await failed.get_by_role("link").click()
    viewer = visitor.page.get_by_role("dialog", name="empty.jpg")
    await expect(viewer.locator(".viewer-state")).to_contain_text(photo["processingError"])
    await expect(viewer.locator(".viewer-state")).to_contain_text("The file itself is the problem")
    await expect(viewer.get_by_role("button", name="Process again")).to_be_hidden()


async def test_a_rejected_file_says_why_and_can_be_dismissed(visitor: Visitor) -> None:
    visitor.tolerated = ("status of 415",)
    await visitor.drop({"notes.jpg": b"these are only words"})

    group = visitor.waiting("notes.jpg")
    await expect(group.locator(".reason")).to_contain_text("JPEG")
    await group.get_by_role("button", name="Dismiss").click()
    await expect(visitor.page.locator("#tray")).to_be_hidden()
    await expect(visitor.page.get_by_role("heading", name="No photos yet")).to_be_visible()


async def test_a_large_file_in_another_format_is_named(visitor: Visitor) -> None:
    visitor.tolerated = ("status of 415",)
    video = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(20_000_000)

    await visitor.drop({"film.jpg": video})

    trouble = visitor.waiting("film.jpg").locator(".reason")
    await expect(trouble).to_contain_text("MP4 video is not supported.")


async def test_the_page_sends_when_a_file_was_modified(visitor: Visitor, tmp_path: Path) -> None:
    file = tmp_path / "old.jpg"
    file.write_bytes(jpeg())
    os.utime(file, (1_000_000_000, 1_000_000_000))

    await visitor.page.locator("#picker").set_input_files(file)

    card = visitor.card("old.jpg")
    await expect(card).to_have_attribute("data-status", "completed")
    photo_id = await card.get_attribute("data-photo-id")
    [uploaded, *_] = (await visitor.get(f"{photo_id}/history"))["items"]
    assert uploaded["data"]["lastModifiedMs"] == 1_000_000_000_000
    words = re.compile("2001, by file change$")
    await expect(card.get_by_role("link")).to_have_accessible_name(words)
    await expect(card.locator(".line")).to_have_text(words)


async def test_a_name_that_looks_like_markup_is_shown_literally(visitor: Visitor) -> None:
    name = "<img src=x onerror=alert(1)>.jpg"
    await visitor.drop({name: jpeg()})

    card = visitor.card(name)
    await expect(card).to_have_attribute("data-status", "completed")
    await card.get_by_role("link").click()
    await expect(visitor.page.locator("#viewer-name")).to_have_text(name)
    assert await visitor.page.locator('img[src="x"]').count() == 0


async def test_a_duplicate_leads_to_the_existing_photo(visitor: Visitor) -> None:
    data = jpeg()
    photo_id = await visitor.upload("first.jpg", data)
    await expect(visitor.card("first.jpg")).to_be_visible()
    await visitor.drop({"second.jpg": data})

    again = visitor.waiting("second.jpg")
    await expect(again.get_by_role("heading")).to_have_text("Already uploaded")
    await again.get_by_role("button", name="Show photo").click()

    await expect(again).to_have_count(0)
    await expect(visitor.card("first.jpg").get_by_role("link")).to_be_focused()
    await expect(visitor.card("first.jpg")).to_have_attribute("data-photo-id", photo_id)


async def test_the_page_works_with_the_keyboard_alone(visitor: Visitor, system: System) -> None:
    page, press = visitor.page, visitor.page.keyboard.press
    await page.get_by_role("link", name="Photolog").focus()
    await press("Tab")
    await expect(page.get_by_role("button", name="Add photos")).to_be_focused()
    async with page.expect_file_chooser() as chooser:
        await press("Enter")
    chosen = ("a.jpg", "b.jpg", "c.jpg")
    files = [{"name": name, "mimeType": "image/jpeg", "buffer": jpeg()} for name in chosen]
    await (await chooser.value).set_files(files)  # pyright: ignore[reportArgumentType] # a FilePayload each
    await expect(page.locator('.card[data-status="completed"]')).to_have_count(3)
    first, second, third = await visitor.cards.locator(".name").all_text_contents()

    await page.get_by_role("button", name="Sign out").focus()
    await press("Tab")
    await expect(page.get_by_role("combobox", name="Language")).to_be_focused()
    await press("Tab")
    await expect(page.get_by_role("combobox", name="Order")).to_be_focused()
    await press("Tab")
    await expect(page.get_by_role("button", name="Select all photos of this day")).to_be_focused()
    await press("Tab")
    await expect(visitor.card(first).get_by_role("link")).to_be_focused()
    await press("ArrowRight")
    await press("Enter")
    await expect(page.locator("#viewer-name")).to_be_focused()
    await expect(page.locator("#viewer-name")).to_have_text(second)
    await press("ArrowRight")
    await expect(page.locator("#viewer-name")).to_have_text(third)
    await press("Escape")
    await expect(visitor.card(third).get_by_role("link")).to_be_focused()
    assert "#" not in page.url

    await press("Enter")
    await page.get_by_role("button", name="Delete").focus()
    await press("Enter")
    await expect(page.get_by_role("dialog", name=f"Delete {third}?")).to_be_visible()
    await press("Tab")
    await press("Enter")
    await expect(page.locator("#viewer-name")).to_have_text(second)
    await press("Escape")
    await expect(visitor.cards).to_have_count(2)


async def test_the_order_of_the_page_is_the_same_after_a_reload(visitor: Visitor) -> None:
    page, names = visitor.page, visitor.cards.locator(".name")
    await visitor.drop({f"{number}.jpg": jpeg() for number in range(8)})
    await expect(page.locator('.card[data-status="completed"]')).to_have_count(8)
    before = await names.all_text_contents()

    await page.reload()
    await expect(names).to_have_count(8)

    assert await names.all_text_contents() == before
    assert before.index("7.jpg") < before.index("0.jpg")


@pytest.mark.parametrize("part", [".frame", ".name", ".line"])
async def test_a_click_anywhere_on_a_card_opens_its_photo(visitor: Visitor, part: str) -> None:
    await visitor.upload("anywhere.jpg", jpeg())
    card = visitor.card("anywhere.jpg")
    await expect(card).to_have_attribute("data-status", "completed")

    await card.locator(part).click()

    await expect(visitor.page.get_by_role("dialog", name="anywhere.jpg")).to_be_visible()


async def test_a_photo_has_an_address_and_back_closes_it(visitor: Visitor) -> None:
    page = visitor.page
    photo_id = await visitor.upload("linked.jpg", jpeg())
    await visitor.card("linked.jpg").get_by_role("link").click()
    await expect(page.get_by_role("dialog", name="linked.jpg")).to_be_visible()
    assert page.url.endswith(f"#photo/{photo_id}")

    await page.reload()
    await expect(page.get_by_role("dialog", name="linked.jpg")).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(visitor.card("linked.jpg")).to_be_visible()


async def test_a_photo_deleted_elsewhere_disappears_from_the_page(visitor: Visitor) -> None:
    visitor.tolerated = ("status of 404",)  # the large picture may still be loading
    photo_id = await visitor.upload("gone.jpg", jpeg())
    await visitor.card("gone.jpg").get_by_role("link").click()
    await expect(visitor.page.get_by_role("dialog", name="gone.jpg")).to_be_visible()

    await visitor.api.delete(f"/api/photos/{photo_id}")

    await expect(visitor.page.get_by_role("dialog")).to_have_count(0)
    await expect(visitor.page.get_by_role("heading", name="No photos yet")).to_be_visible()


async def test_signing_in_by_address_or_form_and_out_again(stranger: Visitor) -> None:
    page = stranger.page
    stranger.tolerated = ("status of 401",)
    await page.goto(f"{stranger.url}/")
    await expect(page.get_by_label("Token")).to_be_focused()
    await page.keyboard.type("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not valid")
    await page.get_by_label("Token").fill(stranger.token)
    await page.keyboard.press("Enter")
    await expect(page.locator("#connection")).to_have_text("Live")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_text("You have signed out.")).to_be_visible()

    await page.goto("about:blank")
    await stranger.sign_in()

    assert page.url == f"{stranger.url}/"
    (cookie,) = await page.context.cookies()
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
    await page.reload()
    await expect(page.locator("#connection")).to_have_text("Live")


async def test_files_not_uploaded_yet_survive_the_end_of_a_session(visitor: Visitor) -> None:
    page = visitor.page
    visitor.tolerated = ("status of 401",)
    # A list that is still loading would end the session before the files come.
    await expect(page.get_by_role("heading", name="No photos yet")).to_be_visible()
    await page.context.clear_cookies()
    await visitor.drop({"patient.jpg": jpeg()})

    await expect(page.locator("#login-why")).to_contain_text("1 photo was not uploaded")
    await page.get_by_label("Token").fill(visitor.token)
    await page.keyboard.press("Enter")
    await expect(visitor.card("patient.jpg")).to_have_attribute("data-status", "completed")


async def test_the_arrow_keys_lead_through_every_photo_once(
    visitor: Visitor, system: System
) -> None:
    with paused(system):
        uploaded = [await visitor.upload(f"{number}.jpg", jpeg((16, 16))) for number in range(70)]
        await visitor.page.reload()
        await expect(visitor.cards.first).to_be_visible()
        assert await visitor.cards.count() < len(uploaded)
        await visitor.cards.first.get_by_role("link").focus()
        seen = [await visitor.page.evaluate(FOCUSED)]
        for _ in uploaded[1:]:
            await visitor.page.keyboard.press("ArrowRight")
            await visitor.page.wait_for_function(f"last => ({FOCUSED})() !== last", arg=seen[-1])
            seen.append(await visitor.page.evaluate(FOCUSED))

    assert seen == uploaded[::-1]


async def test_a_blurhash_is_decoded_like_the_reference(stranger: Visitor) -> None:
    stranger.tolerated = ("status of 401",)
    await stranger.page.goto(stranger.url)
    script = "hash => import('/pages/blurhash.js').then(it => [...it.decode(hash, 32, 20)])"
    for text in BLURHASHES:
        expected = unblurred(text, 32, 20).convert("RGBA").tobytes()

        pixels: list[int] = await stranger.page.evaluate(script, text)

        assert len(pixels) == len(expected)
        assert max(abs(a - b) for a, b in zip(pixels, expected, strict=True)) <= 1


async def test_the_files_of_the_page_need_no_token_and_are_revalidated(system: System) -> None:
    async with httpx.AsyncClient(base_url=system.url, trust_env=False) as client:
        for path, kind in {
            "/": "text/html; charset=utf-8",
            "/pages/app.js": "text/javascript; charset=utf-8",
            "/pages/base.css": "text/css; charset=utf-8",
            "/pages/favicon.svg": "image/svg+xml",
        }.items():
            first = await client.get(path)
            assert (first.status_code, first.headers["content-type"]) == (200, kind)
            assert first.headers["cache-control"] == "no-cache"
            assert first.headers["x-content-type-options"] == "nosniff"
            assert "script-src 'self';" in first.headers["content-security-policy"]
            again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        for path in ("/pages/nothing.js", "/pages/..%2Fapp.py", "/pages/%2e%2e/app.py"):
            assert (await client.get(path)).status_code == 404
