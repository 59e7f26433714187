"""Measure the page of a person who has many photos, and the queries behind it.

The browser is Chromium, held to the network and the processor of a modest telephone. Playwright
drives it; it is a dependency of development, so an installed Photolog may not have it.
"""

import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ops.bench import report
from ops.bench.filling import clone, copy_of_read_model, fill, upload_models
from ops.bench.system import System, running
from projections.models import photos, timeline
from store.sqlite.connection import Connection

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PERSON = "person"
PHOTOS = 100_000
MANY = 1_000_000
SCROLLED = 20_000
LATEST = "2024-06-30T18:00:00"
EVERY_S = {PHOTOS: 2_700, MANY: 270}
QUERIES = 200

BYTES_PER_S = 500_000
LATENCY_MS = 40
SLOWER = 4
VIEWPORT = {"width": 1280, "height": 800}
PATIENCE_MS = 120_000

SHOWN = """() => {
  const cards = [...document.querySelectorAll(".card")].filter(card => {
    const { top, bottom } = card.getBoundingClientRect();
    return bottom > 60 && top < innerHeight;
  });
  return cards.length > 3 && cards.every(card => card.querySelector("canvas, .shown"));
}"""
"""Whether each photo in the window shows its thumbnail or its placeholder."""

NOTE_FIRST_VIEW = f"""() => {{
  const isShown = {SHOWN};
  const look = () => {{
    if (document.body && isShown()) window.firstViewMs = performance.now();
    else requestAnimationFrame(look);
  }};
  requestAnimationFrame(look);
}}"""

JUMP = f"""async fraction => {{
  const isShown = {SHOWN};
  const began = performance.now();
  scrollTo(0, document.documentElement.scrollHeight * fraction);
  do await new Promise(requestAnimationFrame); while (!isShown());
  return performance.now() - began;
}}"""

SCROLL = f"""async photos => {{
  const isShown = {SHOWN};
  const seen = new Set();
  while (seen.size < photos) {{
    scrollBy(0, innerHeight * 0.9);
    do await new Promise(requestAnimationFrame); while (!isShown());
    for (const {{ dataset }} of document.querySelectorAll(".card")) seen.add(dataset.photoId);
  }}
}}"""

LOADED_BYTES = """type => performance.getEntriesByType("resource")
  .filter(({ responseEnd }) => responseEnd <= window.firstViewMs)
  .filter(({ name }) => new URL(name).pathname.endsWith(type))
  .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""

REQUESTS = """() => performance.getEntriesByType("resource")
  .filter(({ responseEnd }) => responseEnd <= window.firstViewMs).length"""

Samples = dict[str, tuple[str, list[float]]]


def run(rounds: int) -> None:
    """Measure the queries, then the page, each ``rounds`` times."""
    report.headline("A page with many photos")
    with running() as system:
        upload_models(system, PERSON)
        _measure_queries(system, rounds)
        fill(system, PERSON, PHOTOS, latest=LATEST, every_s=EVERY_S[PHOTOS])
        _measure_page(system, rounds)


def _measure_queries(system: System, rounds: int) -> None:
    report.note(f"queries of a client with {MANY:,} photos, p99 of {QUERIES} pages")
    samples: Samples = {}
    with copy_of_read_model(system) as db:
        clone(db, PERSON, MANY, latest=LATEST, every_s=EVERY_S[MANY])
        for _ in report.rounds(rounds):
            for name, query in _queries(db).items():
                times = [_ms(query) for _ in range(QUERIES if "days" not in name else 5)]
                samples.setdefault(name, ("ms", []))[1].append(report.percentile(times, 99))
    _print(samples)


def _queries(db: Connection) -> dict[str, Callable[[], object]]:
    def page(order: photos.Order = "uploaded", **filters: Any) -> Callable[[], object]:
        names = ("status", "session_id", "uploaded_from", "uploaded_to", "cursor")
        given: dict[str, Any] = {"limit": 100, **dict.fromkeys(names), **filters}
        return lambda: photos.page(db, client_id=PERSON, order=order, **given)

    def buckets(by: timeline.Step) -> Callable[[], object]:
        return lambda: timeline.page(db, by=by, client_id=PERSON, cursor=None)

    may = {"taken_from": "2020-05-01T00:00:00.000", "taken_to": "2020-06-01T00:00:00.000"}
    return {
        "first page by date taken": page("taken"),
        "first page by date added": page(),
        "first page of a month": page("taken", **may),
        "first page of a status": page(status="completed"),
        "first page since a date": page(uploaded_from="2020-05-01T00:00:00.000Z"),
        "all days": buckets("day"),
        "months of all days": buckets("month"),
        "years of all days": buckets("year"),
    }


def _ms(query: Callable[[], object]) -> float:
    began = time.perf_counter()
    query()
    return (time.perf_counter() - began) * 1_000


def _measure_page(system: System, rounds: int) -> None:
    with _browser() as browser:
        if browser is None:
            return
        report.note(
            f"{PHOTOS:,} photos, {BYTES_PER_S * 8 // 1_000_000} Mbit/s with {LATENCY_MS} ms, "
            f"a processor {SLOWER} times slower, {VIEWPORT['width']} × {VIEWPORT['height']}"
        )
        signed_in = _sign_in(browser, system)
        samples: Samples = {}
        for _ in report.rounds(rounds):
            context = browser.new_context(storage_state=signed_in, viewport=VIEWPORT)  # pyright: ignore[reportArgumentType]
            for name, (unit, value) in _visit(context, system.url).items():
                samples.setdefault(name, (unit, []))[1].append(value)
            context.close()
    _print(samples)


def _visit(context: "BrowserContext", url: str) -> dict[str, tuple[str, float]]:
    """Return what one visit with an empty cache, and another one with a full cache, measure."""
    page, session = _slow_page(context)
    page.goto(url, wait_until="commit")
    found = {
        "first view": ("ms", _first_view(page)),
        "processor time of the page until then": ("ms", _processor_ms(session)),
        "requests until the first view": ("", page.evaluate(REQUESTS)),
        "JavaScript, compressed": ("KB", page.evaluate(LOADED_BYTES, ".js") / 1_000),
        "style sheets, compressed": ("KB", page.evaluate(LOADED_BYTES, ".css") / 1_000),
    }
    page.wait_for_selector("#scrubber:not([hidden])")
    found["jump to another month"] = ("ms", page.evaluate(JUMP, 0.5))
    session.send("Network.disable")
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    page.evaluate("scrollTo(0, 0)")
    page.evaluate(SCROLL, SCROLLED)
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")["usedSize"]
    found[f"JavaScript heap after {SCROLLED:,} photos"] = ("MB", heap / 1_000_000)
    elements = page.evaluate("document.querySelectorAll('*').length")
    found[f"elements after {SCROLLED:,} photos"] = ("", elements)
    page.close()  # its requests and its event stream would delay those of the next visit
    again, _ = _slow_page(context)
    again.goto(url, wait_until="commit")
    found["first view of the next visit"] = ("ms", _first_view(again))
    return found


def _slow_page(context: "BrowserContext") -> "tuple[Page, Any]":
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(f"({NOTE_FIRST_VIEW})()")
    session: Any = context.new_cdp_session(page)
    session.send("Network.enable")
    network = {"offline": False, "latency": LATENCY_MS}
    network |= {f"{way}Throughput": BYTES_PER_S for way in ("download", "upload")}
    session.send("Network.emulateNetworkConditions", network)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return page, session


def _first_view(page: "Page") -> float:
    page.wait_for_function("() => window.firstViewMs")
    return page.evaluate("() => window.firstViewMs")


def _processor_ms(session: Any) -> float:
    """Return the processor time of all tasks of the page so far: other load hardly changes it."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(each["value"] for each in metrics if each["name"] == "TaskDuration") * 1_000


def _sign_in(browser: "Browser", system: System) -> Any:
    """Return the state of a browser in which ``PERSON`` is signed in."""
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(f"{system.url}/#token={system.token(PERSON)}")
    page.get_by_role("button", name="Sign in as").click()
    page.wait_for_selector(".card")
    state = context.storage_state()
    context.close()
    return state


@contextmanager
def _browser() -> "Generator[Browser | None]":
    """Start Chromium; if it is missing, print what to install and return None."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415
    except ImportError:
        report.note("the page is skipped: Playwright is not installed (`pip install playwright`)")
        yield None
        return
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        report.note("the page is skipped: there is no Chromium (`apt-get install chromium`)")
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def _print(samples: Samples) -> None:
    for name, (unit, values) in samples.items():
        report.line(name, values, unit)
