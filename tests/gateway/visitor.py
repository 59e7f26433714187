"""A person who uses the page, and pictures to upload."""

import base64
import io
import os
import signal
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
from PIL import Image, ImageDraw, TiffImagePlugin
from playwright.async_api import Locator, Page, expect

from ops.bench.system import System

DROP = """files => {
  const dropped = new DataTransfer();
  for (const [name, data] of files) {
    const bytes = Uint8Array.from(atob(data), character => character.charCodeAt(0));
    dropped.items.add(new File([bytes], name, { type: "image/jpeg" }));
  }
  const options = { bubbles: true, cancelable: true, dataTransfer: dropped };
  document.body.dispatchEvent(new DragEvent("drop", options));
}"""

LOADED = """path => performance.getEntriesByType("resource")
  .some(({ name }) => new URL(name).pathname.endsWith(path))"""


class Visitor(msgspec.Struct, kw_only=True):
    """A person with the page open, and an API client with the same token."""

    url: str
    token: str
    page: Page
    api: httpx.AsyncClient
    errors: list[str]
    """Errors on the browser's console, including policy violations."""

    tolerated: tuple[str, ...] = ()

    @property
    def cards(self) -> Locator:
        return self.page.locator(".card")

    def card(self, name: str) -> Locator:
        return self.cards.filter(has=self.page.get_by_text(name, exact=True))

    def waiting(self, name: str) -> Locator:
        """Return the group of the uploads tray with this file that needs a decision."""
        return self.page.locator(".upload-group").filter(
            has=self.page.get_by_text(name, exact=True)
        )

    async def sign_in(self) -> None:
        await self.page.goto(f"{self.url}/#token={self.token}")
        await self.page.get_by_role("button", name="Sign in as").click()
        await expect(self.page.locator("#connection")).to_have_text("Live")

    async def until_all_is_loaded(self) -> None:
        """Wait until the page has also loaded what its first view does not need."""
        for module in ("tray", "viewer", "zoom", "actions", "batch"):
            await self.page.wait_for_function(LOADED, arg=f"/{module}.js")

    async def drop(self, files: dict[str, bytes]) -> None:
        """Drop files onto the page."""
        await self.page.evaluate(
            DROP, [[name, base64.b64encode(data).decode()] for name, data in files.items()]
        )

    async def upload(self, name: str, data: bytes) -> str:
        """Upload through the API instead of the page; return the photo's id once it can be read."""
        answer = await self.api.post("/api/photos/upload", files={"file": (name, data)})
        assert answer.status_code == 201, answer.text
        uploaded: dict[str, str] = answer.json()
        await self.get(f"{uploaded['photoId']}?after={uploaded['position']}")
        return uploaded["photoId"]

    async def get(self, path: str) -> dict[str, Any]:
        return (await self.api.get(f"/api/photos/{path}")).raise_for_status().json()

    async def history(self, photo_id: str) -> list[str]:
        return [event["id"] for event in (await self.get(f"{photo_id}/history"))["items"]]

    async def shown_history(self) -> list[str | None]:
        """Return the ids of the events in the history of the open photo."""
        events = await self.page.locator(".story li").all()
        return [await event.get_attribute("data-event-id") for event in events]


@contextmanager
def paused(system: System) -> Generator[Callable[[], None]]:
    """Pause the worker until the block ends or the yielded function is called."""
    worker = system.pid_of("worker")
    os.kill(worker, signal.SIGSTOP)
    try:
        yield lambda: os.kill(worker, signal.SIGCONT)
    finally:
        os.kill(worker, signal.SIGCONT)


def jpeg(size: tuple[int, int] = (96, 64), **options: Any) -> bytes:
    """Return a picture that differs from that of every other call."""
    image = Image.effect_mandelbrot(size, (-2.2, -1.2, 0.9, 1.2), 90).convert("RGB")
    colour = tuple(uuid.uuid4().bytes[:3])
    ImageDraw.Draw(image).ellipse((8, 8, size[0] // 2, size[1] // 2), fill=colour)
    file = io.BytesIO()
    image.save(file, "JPEG", comment=uuid.uuid4().bytes, **options)
    return file.getvalue()


def taken_with_a_camera() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Leica Camera AG", "LEICA T"
    details = exif.get_ifd(0x8769)
    details[0x829A] = TiffImagePlugin.IFDRational(1, 250)
    details[0x829D] = TiffImagePlugin.IFDRational(56, 10)
    details[0x8827] = 200
    details[0x920A] = TiffImagePlugin.IFDRational(23, 1)
    details[0x9003] = "2014:04:24 12:21:55"
    place = exif.get_ifd(0x8825)
    place[1], place[2] = "N", (43.0, 28.0, 2.82)
    place[3], place[4] = "W", (11.0, 53.0, 6.46)
    return jpeg(exif=exif)
