"""Download photos into a folder: resumed where it stopped, verified, and never over other content.

A file arrives under a hidden name, ``.photolog-<photo id>-<which>.part``. It gets its own name once
its SHA-256 is that of the log. If that name has other content, the photo's id is added to it.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import anyio
import httpx
import msgspec

from gateway.uploads.safe_names import compared, safe_name
from ops.client.client import Problem, checked
from ops.client.photo_list import pages
from ops.client.retry import BUSY, Retry, Waiting
from ops.errors import UserError, one_by_one

AT_ONCE = 4
BLOCK_BYTES = 1 << 20
RENDITIONS = ("original", "optimized", "150", "300", "600")
Which = Literal["original", "optimized", "150", "300", "600"]

PARTIAL, RANGE_UNSATISFIABLE = 206, 416


class Photo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The fields of a photo that a download needs."""

    photo_id: str
    original_filename: str
    sha256: str


class Downloaded(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file at ``path`` is complete; ``already`` means that it was before."""

    photo_id: str
    path: str
    size: int
    already: bool
    status: str = "downloaded"


class NotDownloaded(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why there is no file of the photo; ``code`` is the server's or this module's."""

    photo_id: str
    code: str
    reason: str
    status: str = "failed"


Outcome = Downloaded | NotDownloaded


async def chosen(
    client: httpx.AsyncClient, photo_ids: tuple[str, ...], filters: Mapping[str, str]
) -> tuple[list[Photo], list[NotDownloaded]]:
    """Return the photos with these ids, or else those that ``filters`` select; raises UserError."""
    photos: list[Photo] = []
    missing: list[NotDownloaded] = []
    if not photo_ids:
        async for page in pages(client, filters):
            photos += [msgspec.json.decode(each, type=Photo) for each in page]
        return photos, missing
    for photo_id in dict.fromkeys(photo_ids):
        response = await client.get(f"/api/photos/{photo_id}")
        if response.status_code == 404:
            problem = Problem.of(response)
            missing.append(NotDownloaded(photo_id=photo_id, code=problem.code, reason=str(problem)))
        else:
            photos.append(msgspec.json.decode(checked(response).content, type=Photo))
    return photos, missing


async def download(
    client: httpx.AsyncClient,
    photos: list[Photo],
    folder: Path,
    which: Which,
    *,
    ended: Callable[[Outcome], None],
    waiting: Waiting,
) -> None:
    """Download the photos, ``AT_ONCE`` at a time; ``ended`` receives the outcome of each.

    Raises:
        UserError: the folder cannot be made.
        httpx.TransportError: the server does not answer for long.
    """
    names = _Names(folder)
    todo = iter(photos)

    async def work() -> None:
        for photo in todo:
            try:
                outcome = await _Download(client, photo, names, which, waiting).run()
            except OSError as error:
                reason = error.strerror or str(error)
                outcome = NotDownloaded(photo_id=photo.photo_id, code="not-written", reason=reason)
            ended(outcome)

    with one_by_one():
        async with anyio.create_task_group() as workers:
            for _ in range(AT_ONCE):
                workers.start_soon(work)


class _Names:
    """Gives each photo a name of its own in the folder."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}") from error
        self.folder = folder
        self._taken: set[str] = set()

    def candidates(self, name: str, photo_id: str) -> list[Path]:
        """Return where the file may be, in order: under its name, or with the photo's id."""
        marked = safe_name(name, f"-{photo_id}")
        names = [safe_name(name), marked]
        return [self.folder / each for each in names if compared(each) not in self._taken]

    def take(self, path: Path) -> None:
        self._taken.add(compared(path.name))


class _Download:
    """The download of one file."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        photo: Photo,
        names: _Names,
        which: Which,
        waiting: Waiting,
    ) -> None:
        self._client = client
        self._photo = photo
        self._names = names
        self._which = which
        self._retry = Retry(waiting=waiting)
        part = safe_name(f".photolog-{photo.photo_id}-{which}.part")
        self._part = names.folder / part

    async def run(self) -> Outcome:
        """Return the outcome; raises OSError if a file cannot be written or read."""
        sha256 = self._photo.sha256 if self._which == "original" else await self._look()
        if isinstance(sha256, NotDownloaded):
            return sha256
        for path in self._names.candidates(self._name(), self._photo.photo_id):
            if await _sha256_of(path) == sha256:
                self._names.take(path)
                self._part.unlink(missing_ok=True)
                return self._downloaded(path, already=True)
        for _ in range(2):  # a part of an older rendition is of no use
            refused = await self._receive(sha256)
            if refused is not None:
                return refused
            if await _sha256_of(self._part) == sha256:
                return self._named()
            self._part.unlink(missing_ok=True)
        return self._failed("altered", "the received bytes are not those that were uploaded")

    def _name(self) -> str:
        name = self._photo.original_filename
        if self._which == "original":
            return name
        return f"{name.rpartition('.')[0] or name}-{self._which}.webp"

    @property
    def _address(self) -> str:
        which = self._which if self._which in RENDITIONS[:2] else f"thumbnails/{self._which}"
        return f"/api/photos/{self._photo.photo_id}/{which}"

    async def _look(self) -> str | NotDownloaded:
        """Return the SHA-256 of the rendition, which is its ETag."""
        while True:
            try:
                response = await self._client.head(self._address)
            except httpx.TransportError as error:
                await self._retry.after_loss(error)
                continue
            if response.status_code in BUSY and await self._retry.after_busy(response):
                continue
            if response.status_code == 404:
                return self._failed("rendition-not-found", "there is no such picture of it")
            if not response.is_success and not response.is_redirect:
                return self._failed("refused", str(Problem.of(response)))
            return response.headers.get("ETag", "").strip('"')

    async def _receive(self, sha256: str) -> NotDownloaded | None:
        """Receive the file or the rest of it; return why the server refuses, or None."""
        while True:
            have = self._part.stat().st_size if self._part.exists() else 0
            asked = {"Range": f"bytes={have}-", "If-Range": f'"{sha256}"'} if have else {}
            request = self._client.build_request("GET", self._address, headers=asked)
            try:
                response = await self._client.send(request, stream=True, follow_redirects=True)
                try:
                    if response.status_code == RANGE_UNSATISFIABLE:  # it is complete
                        return None
                    if response.is_success:
                        await self._write(response)
                        return None
                    await response.aread()
                finally:
                    await response.aclose()
            except httpx.TransportError as error:
                await self._retry.after_loss(error)
                continue
            if response.status_code not in BUSY or not await self._retry.after_busy(response):
                problem = Problem.of(response)
                return self._failed(problem.code or "refused", str(problem))

    async def _write(self, response: httpx.Response) -> None:
        with self._part.open("ab" if response.status_code == PARTIAL else "wb") as file:
            async for block in response.aiter_bytes(BLOCK_BYTES):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    def _named(self) -> Outcome:
        """Give the complete file its name, without replacing another file."""
        for path in self._names.candidates(self._name(), self._photo.photo_id):
            with suppress(FileExistsError):
                _move(self._part, path)
                self._names.take(path)
                return self._downloaded(path, already=False)
        return self._failed("name-taken", "other files have its name; remove them, or use --to")

    def _downloaded(self, path: Path, *, already: bool) -> Downloaded:
        size = path.stat().st_size
        return Downloaded(photo_id=self._photo.photo_id, path=str(path), size=size, already=already)

    def _failed(self, code: str, reason: str) -> NotDownloaded:
        return NotDownloaded(photo_id=self._photo.photo_id, code=code, reason=reason)


def _move(source: Path, target: Path) -> None:
    """Rename; raises FileExistsError instead of replacing a file."""
    try:
        target.hardlink_to(source)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        source.replace(target)
        return
    source.unlink()


async def _sha256_of(path: Path) -> str | None:
    """Return the SHA-256 in hex; None if there is no such file."""

    def digest() -> str | None:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, IsADirectoryError):
            return None

    return await anyio.to_thread.run_sync(digest)
