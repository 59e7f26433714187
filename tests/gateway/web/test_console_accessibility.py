"""The console's views against the rules of axe-core, in both themes and on both screens."""

from typing import Any, Literal

from axe_playwright_python.async_playwright import (  # pyright: ignore[reportMissingTypeStubs]
    Axe,
)
from playwright.async_api import expect

from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg
from tests.gateway.web.operators import console, ended, failed_photos

THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZES = ((1280, 900), (390, 800))
OPTIONS = {"resultTypes": ["violations"]}


def told(violations: list[dict[str, Any]]) -> list[str]:
    return [
        f"{each['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for each in violations
        for node in each["nodes"]
    ]


async def test_no_view_breaks_a_rule_in_any_theme_or_size(
    stranger: Visitor, system: System
) -> None:
    photo = await stranger.upload("one.jpg", jpeg())
    await failed_photos(stranger, 2)
    await ended(stranger, photo)
    one = await stranger.get(photo)
    wish = {"url": "http://127.0.0.1:9/hook"}
    webhook = (await stranger.api.post("/api/webhooks", json=wish)).raise_for_status().json()
    page = await console(stranger, system, "overview")
    axe: Any = Axe()  # it has no types
    found: list[str] = []
    views = (
        *("overview", "controls", "jobs", f"job?id={one['jobId']}", "dead-letters", "audit"),
        *("clients", f"photos?clientId={one['clientId']}", "system", "controls ask"),
        *("webhooks", f"webhook?id={webhook['id']}"),
    )

    for view in views:
        name, _, asks = view.partition(" ")
        await page.goto(f"{system.url}/console#{name}")
        await expect(page.get_by_role("heading", level=2).first).to_be_visible()
        if asks:
            await page.get_by_role("button", name="Pause erasure").click()
            await expect(page.get_by_role("dialog")).to_be_visible()
        for theme in THEMES:
            await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            for width, height in SIZES:
                await page.set_viewport_size({"width": width, "height": height})
                results = await axe.run(page, options=OPTIONS)
                found += [
                    f"{view} {theme} {width}: {each}"
                    for each in told(results.response["violations"])
                ]

    assert found == [], "\n".join(found)
