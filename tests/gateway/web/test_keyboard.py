"""Without a mouse: everything can be reached and operated, the focus is visible, and never lost."""

from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg, taken_with_a_camera
from tests.gateway.web.operators import console, ended, failed_photos

SIZES = pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
MOST_STOPS = 250

MARK = """() => {
  const stops = "a[href], button, input, select, textarea, summary, [tabindex]";
  const host = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  const all = [...host.querySelectorAll(stops)].filter(element =>
    element.tabIndex >= 0 && !element.disabled && element.type !== "file"
    && element.checkVisibility({ visibilityProperty: true })
    && !element.closest("[hidden], [inert]"));
  all.forEach((element, index) => element.dataset.stop = index);
  document.activeElement.blur();
  return all.length;
}"""
"""Number what the Tab key should reach; an element keeps its number while it is not replaced."""

FOCUSED = """() => {
  const element = document.activeElement;
  if (element === null || element === document.body) return null;
  element.getAnimations({ subtree: true }).forEach(animation => animation.finish());
  const box = element.getBoundingClientRect();
  // Of a part that is taller than the window, the top may be out of sight.
  const seen = (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2;
  const x = box.left + box.width / 2;
  const y = box.top < 0 ? seen : box.top + Math.min(box.height, 40) / 2;
  const top = document.elementFromPoint(x, y);
  const hasRing = one => {
    const { outlineStyle, outlineWidth } = getComputedStyle(one);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  };
  return {
    stop: element.dataset.stop ?? null,
    name: element.ariaLabel || element.textContent.trim().slice(0, 60) || element.id,
    isVisible: top !== null && (element.contains(top) || top.contains(element)
      || top.closest("label")?.control === element),
    hasRing: hasRing(element) || hasRing(element.parentElement),
  };
}"""
"""What has the focus, whether something covers it, and whether a ring shows it."""


async def walked(page: Page) -> list[str]:
    """Walk with the Tab key until it begins again; return what is wrong."""
    count: int = await page.evaluate(MARK)
    names: dict[str | None, str] = {}
    wrong: list[str] = []
    last = ""
    for _ in range(MOST_STOPS):
        await page.keyboard.press("Tab")
        found: dict[str, Any] | None = await page.evaluate(FOCUSED)
        if found is None:  # between the last stop and the first one
            continue
        if found["stop"] == last:  # a date has several parts
            continue
        last = found["stop"]
        if last in names:
            break
        names[found["stop"]] = found["name"]
        if not found["isVisible"]:
            wrong.append(f"{found['name']!r} has the focus and cannot be seen")
        if not found["hasRing"]:
            wrong.append(f"{found['name']!r} does not show that it has the focus")
    else:
        wrong.append("the Tab key does not get out")
    missed = {str(stop) for stop in range(count)} - set(names)
    for stop in sorted(missed):
        element = page.locator(f'[data-stop="{stop}"]')
        if await element.count() and await element.is_visible():
            label = await element.evaluate("e => e.ariaLabel || e.textContent || e.id")
            wrong.append(f"{label!r} is not reached; after {list(names.values())[-3:]}")
    return wrong


async def dismissed(page: Page, opener: Locator) -> list[str]:
    """Open a dialog with Enter, walk through it and leave it; return what is wrong."""
    await opener.focus()
    name = await opener.evaluate("e => e.ariaLabel || e.textContent")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").last).to_be_visible()
    wrong = [f"{name} asks: {each}" for each in await walked(page)]
    await page.keyboard.press("Escape")
    try:
        await expect(opener).to_be_focused(timeout=5_000)
    except AssertionError:
        wrong.append(f"{name} does not get the focus back")
    return wrong


@SIZES
async def test_the_page_of_photos_is_walked_from_end_to_end(
    visitor: Visitor, width: int, height: int
) -> None:
    page = visitor.page
    visitor.tolerated = ("status of 415",)
    await page.set_viewport_size({"width": width, "height": height})
    for name, data in (("now.jpg", jpeg()), ("then.jpg", taken_with_a_camera())):
        await visitor.upload(name, data)
        await expect(visitor.card(name)).to_have_attribute("data-status", "completed")
    await visitor.drop({"notes.jpg": b"these are only words"})
    await expect(visitor.waiting("notes.jpg")).to_be_visible()

    assert await walked(page) == []
    await visitor.card("now.jpg").get_by_role("link").press("Space")
    assert await walked(page) == []


@SIZES
async def test_the_viewer_is_walked_and_its_questions_give_the_focus_back(
    visitor: Visitor, width: int, height: int
) -> None:
    page = visitor.page
    await page.set_viewport_size({"width": width, "height": height})
    await visitor.upload("then.jpg", taken_with_a_camera())
    card = visitor.card("then.jpg")
    await expect(card).to_have_attribute("data-status", "completed")
    await card.get_by_role("link").press("Enter")
    await expect(page.locator('.large[data-kind="optimized"]')).to_be_visible()

    assert await walked(page) == []
    if width < 860:
        await page.get_by_role("button", name="Information").press("Enter")
        assert await walked(page) == []
    viewer = page.get_by_role("dialog", name="then.jpg")
    assert await dismissed(page, viewer.get_by_role("button", name="Delete")) == []
    await page.keyboard.press("Escape")
    await expect(card.get_by_role("link")).to_be_focused()


@SIZES
async def test_what_is_dismissed_in_the_tray_gives_the_focus_to_the_photos(
    visitor: Visitor, width: int, height: int
) -> None:
    page = visitor.page
    visitor.tolerated = ("status of 415",)
    await page.set_viewport_size({"width": width, "height": height})
    await visitor.upload("now.jpg", jpeg())
    await expect(visitor.card("now.jpg")).to_have_attribute("data-status", "completed")
    await visitor.drop({"notes.jpg": b"these are only words"})

    await visitor.waiting("notes.jpg").get_by_role("button", name="Dismiss").press("Enter")

    await expect(page.locator("#tray")).to_be_hidden()
    await expect(visitor.card("now.jpg").get_by_role("link")).to_be_focused()


@SIZES
async def test_the_form_that_signs_in_is_walked(stranger: Visitor, width: int, height: int) -> None:
    page = stranger.page
    await page.set_viewport_size({"width": width, "height": height})
    await page.goto(stranger.url)
    await expect(page.get_by_label("Token")).to_be_focused()

    assert await walked(page) == []


@SIZES
async def test_each_view_of_the_console_is_walked_and_its_dialogs_give_the_focus_back(
    stranger: Visitor, system: System, width: int, height: int
) -> None:
    await stranger.page.set_viewport_size({"width": width, "height": height})
    photo = await stranger.upload("one.jpg", jpeg())
    (failed,) = await failed_photos(stranger, 1)
    await ended(stranger, photo)
    one = await stranger.get(photo)
    bad = await stranger.get(failed)
    owner = one["clientId"]
    wish = {"url": "http://127.0.0.1:9/hook"}
    webhook = (await stranger.api.post("/api/webhooks", json=wish)).raise_for_status().json()
    page = await console(stranger, system, "overview")
    wrong: list[str] = []

    for view, buttons in (
        ("overview", ["Pause erasure"]),
        ("controls", ["Limit erasure", "Drain erasure", "Backfill placeholder"]),
        (f"jobs?clientId={owner}", []),
        (f"job?id={bad['jobId']}", ["Retry"]),
        (f"dead-letters?clientId={owner}", []),
        (f"audit?clientId={owner}", []),
        (f"clients?prefix={owner}", ["Revoke access"]),
        (f"photos?clientId={owner}", []),
        (f"webhooks?clientId={owner}", []),
        (f"webhook?id={webhook['id']}", ["Disable", "Replay", "Rotate secret"]),
        ("system", []),
    ):
        await page.goto(f"{system.url}/console#{view}")
        await expect(page.get_by_role("heading", level=2).first).to_be_visible()
        wrong += [f"{view}: {each}" for each in await walked(page)]
        for name in buttons:
            opener = page.get_by_role("button", name=name).first
            wrong += [f"{view}: {each}" for each in await dismissed(page, opener)]

    assert wrong == [], "\n".join(wrong)


async def test_a_dialog_that_closes_takes_the_focus_from_nobody_who_has_moved_on(
    stranger: Visitor, system: System
) -> None:
    page = await console(stranger, system, "controls")
    await page.get_by_role("button", name="Drain erasure").press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()

    # The event of a closed dialog comes later than its end.
    await page.evaluate("""() => {
      document.querySelector("dialog[open]").close();
      document.querySelector("[aria-label='Limit erasure']").focus();
    }""")

    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("button", name="Limit erasure")).to_be_focused()


async def test_information_that_closes_gives_the_focus_to_its_button(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.upload("one.jpg", jpeg())
    await visitor.card("one.jpg").get_by_role("link").press("Enter")
    await expect(page.get_by_role("heading", name="one.jpg")).to_be_focused()

    for is_shown in ("false", "true", "false"):
        await page.keyboard.press("i")

        button = page.get_by_role("dialog").get_by_role("button", name="Information")
        await expect(button).to_have_attribute("aria-pressed", is_shown)
        await expect(button).to_be_focused()


async def test_what_has_the_focus_stays_where_it_is_while_what_is_above_changes(
    stranger: Visitor, system: System
) -> None:
    await stranger.page.set_viewport_size({"width": 390, "height": 844})
    page = await console(stranger, system, "overview")
    parts = page.get_by_role("region", name="Parts")
    await parts.evaluate(
        """parts => {
          const more = document.createElement("div");
          more.id = "more";
          more.style.height = "600px";
          parts.closest(".overview").prepend(more);
          parts.focus();
        }"""
    )
    before = await parts.evaluate("parts => parts.getBoundingClientRect().top")

    await stranger.upload("one.jpg", jpeg())
    await expect(page.locator("#more")).to_have_count(0)

    after = await parts.evaluate("parts => parts.getBoundingClientRect().top")
    assert after == pytest.approx(before, abs=2)
    await expect(parts).to_be_focused()
