"""Import the photos of a folder, each once, and keep looking for new ones.

A file is hashed and sent when two looks find it with the same size and time of change, so a file
that is still being copied waits. The server says which bytes it has; the ledger only saves hashing
a file again, and tells photos that were deleted on the server from those that it has lost. An
import only reads: a folder that vanishes, such as one on a card that was pulled out, is waited for,
and nothing is deleted because of it.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import msgspec

from ops.client.finding import Failed, Found, find_files, looks_like_photo, readable, unreadable
from ops.client.import_ledger import File, Ledger
from ops.client.known_photos import KnownPhotos
from ops.client.retry import Waiting
from ops.client.uploading import Uploaded, Wish, upload
from ops.errors import UserError

FIRST_RETRY_S = 5.0
LAST_RETRY_S = 3600.0
REFUSED = frozenset({"unsupported-type", "empty-file", "upload-too-large"})
"""The codes of problems that lie in the file: another attempt finds the same bytes."""


class Present(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Nothing was sent: the server has the photo, or it was imported and then deleted there."""

    path: str
    photo_id: str
    status: str


class Skipped(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file is not sent, because it neither begins nor is named like a photo."""

    path: str
    code: str = "not-a-photo"
    status: str = "skipped"


ALREADY, DELETED, REFUSED_STATUS = "already imported", "deleted", "refused"

Outcome = Uploaded | Failed | Present | Skipped
Ended = Callable[[Outcome], None]


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait: between two looks at the same files, and between two rounds."""

    settle_s: float
    every_s: float


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Functions that receive the outcome of each file, the reason for a wait, and notes."""

    ended: Ended
    waiting: Waiting
    noted: Callable[[str], None]


class _Retry(msgspec.Struct, kw_only=True):
    """When a file that failed is due again, on the monotonic clock."""

    due: float
    pause_s: float


class Importer:
    """Imports one folder; each state of a file has one outcome, unless it fails and is retried."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        folder: Path,
        ledger: Ledger,
        wish: Wish,
        pause: Pause,
        told: Told,
    ) -> None:
        self._client = client
        self._folder = folder.resolve()
        self._ledger = ledger
        self._wish = wish
        self._pause = pause
        self._told = told
        self._server = KnownPhotos(client, told.waiting)
        self._done: dict[Path, File] = {}
        self._retries: dict[Path, _Retry] = {}
        self._others: set[Path] = set()
        self._noted: set[str] = set()

    async def once(self) -> None:
        """Import what is there; raises httpx.TransportError if the server does not answer."""
        before = {file.path: file for file in self._look(failed=_ignore)}
        if any(self._ledger.sha256_of(file) is None for file in before.values()):
            await anyio.sleep(self._pause.settle_s)
        files = self._look(failed=self._told.ended)
        stable: list[File] = []
        for file in files:
            if self._is_stable(file, before):
                stable.append(file)
            else:
                reason = "it is still changing; import it again later"
                path = readable(file.path)
                self._told.ended(Failed(path=path, code="still-changing", reason=reason))
        await self._import(stable)

    async def watch(self) -> None:
        """Import what is there and what comes, until cancelled."""
        before: dict[Path, File] = {}
        while True:
            due = self._due(self._look())
            stable = [file for file in due if self._is_stable(file, before)]
            before = {file.path: file for file in due}
            try:
                await self._import(stable)
            except httpx.TransportError as error:
                self._told.waiting(f"no answer: {error or type(error).__name__}")
            except UserError as error:
                self._told.waiting(str(error))
            unsettled = len(due) > len(stable)
            await anyio.sleep(self._pause.settle_s if unsettled else self._pause.every_s)

    def _is_stable(self, file: File, before: dict[Path, File]) -> bool:
        return before.get(file.path) == file or self._ledger.sha256_of(file) is not None

    def _look(self, *, failed: Callable[[Failed], None] | None = None) -> list[File]:
        """Return the photos of the folder; what cannot be read is waited for unless it failed."""
        if not self._folder.is_dir():
            self._told.waiting(f"{readable(self._folder)} is not there")
            return []
        found = find_files([self._folder], is_photo=self._is_photo)
        for each in found.failed:
            if failed is not None:
                failed(each)
            else:
                self._told.waiting(f"{each.path}: {each.reason}")
        for path in found.others:
            if path not in self._others:
                self._told.ended(Skipped(path=readable(path)))
        self._others = set(found.others)
        for note in found.notes():
            if note not in self._noted:
                self._told.noted(note)
        self._noted.update(found.notes())
        return list(_with_times(path for path, _ in found.files))

    def _is_photo(self, path: Path) -> bool:
        return path in self._done or looks_like_photo(path)

    def _due(self, files: list[File]) -> list[File]:
        """Return the files that have no outcome yet, and whose next try is not later."""
        new = [file for file in files if self._done.get(file.path) != file]
        paths = {file.path for file in new}
        self._retries = {path: each for path, each in self._retries.items() if path in paths}
        now = time.monotonic()
        retries = self._retries
        return [file for file in new if file.path not in retries or retries[file.path].due <= now]

    async def _import(self, files: list[File]) -> None:
        """Import files that do not change: hash them, ask the server, send what it lacks."""
        hashed = [
            (file, sha256) for file in files if (sha256 := await self._sha256(file)) is not None
        ]
        if not hashed:
            return
        having = await self._server.having(sha256 for _, sha256 in hashed)
        lacking: list[tuple[File, str]] = []
        for file, sha256 in hashed:
            known = having.get(sha256)
            earlier = self._ledger.photo_of(sha256)
            if known is not None:
                self._ledger.note_photo(sha256, known)
                self._present(file, known, ALREADY)
            elif earlier is not None and await self._server.is_deleted(earlier):
                self._present(file, earlier, DELETED)
            else:
                lacking.append((file, sha256))
        await self._send(lacking)

    async def _sha256(self, file: File) -> str | None:
        """Return the SHA-256 of the file, or report why it cannot be read and return None."""
        if (known := self._ledger.sha256_of(file)) is not None:
            return known
        try:
            sha256 = await anyio.to_thread.run_sync(_hashed, file.path)
        except OSError as error:
            self._later(file.path)
            self._told.ended(unreadable(file.path, error))
            return None
        if _is_unchanged(file):
            self._ledger.note_hash(file, sha256)
        return sha256

    def _present(self, file: File, photo_id: str, status: str) -> None:
        self._done[file.path] = file
        self._told.ended(Present(path=readable(file.path), photo_id=photo_id, status=status))

    async def _send(self, files: list[tuple[File, str]]) -> None:
        by_name = {readable(file.path): (file, sha256) for file, sha256 in files}

        def ended(outcome: Uploaded | Failed) -> None:
            file, sha256 = by_name[outcome.path]
            match outcome:
                case Uploaded(photo_id=photo_id):
                    if _is_unchanged(file):  # otherwise these may be other bytes
                        self._ledger.note_photo(sha256, photo_id)
                    self._done[file.path] = file
                    self._retries.pop(file.path, None)
                case Failed(code=code) if code in REFUSED:
                    self._done[file.path] = file
                    outcome = msgspec.structs.replace(outcome, status=REFUSED_STATUS)
                case Failed():
                    self._later(file.path)
            self._told.ended(outcome)

        if files:
            await upload(
                self._client,
                Found(files=[(file.path, file.size) for file, _ in files]),
                self._wish,
                advance=_ignore,
                ended=ended,
                waiting=self._told.waiting,
                wait=False,
                timeout_s=LAST_RETRY_S,
            )

    def _later(self, path: Path) -> None:
        last = self._retries.get(path)
        pause_s = FIRST_RETRY_S if last is None else min(last.pause_s * 2, LAST_RETRY_S)
        self._retries[path] = _Retry(due=time.monotonic() + pause_s, pause_s=pause_s)


def _ignore(_: object) -> None:
    """Report nothing: neither progress within a file, nor what a second look will find again."""


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_unchanged(file: File) -> bool:
    return next(iter(_with_times([file.path])), None) == file


def _with_times(paths: Iterable[Path]) -> Iterable[File]:
    for path in paths:
        try:
            seen = path.stat()
        except OSError:
            continue  # it has just vanished; the next look tells
        yield File(path=path, size=seen.st_size, changed_ns=seen.st_mtime_ns)
