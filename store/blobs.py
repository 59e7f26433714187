"""Blobs in a folder: originals and renditions, each written once under its key.

| path under the root | what |
|---|---|
| ``originals/ab/<photoId>`` | an upload, byte for byte |
| ``renditions/ab/<photoId>/<jobId>/<name>`` | a picture made from it |
| ``probes/<id>`` | written, read and deleted to see whether that works |
| ``drafts/<owner>~<id>`` | being written; worthless once its writer is gone |
| ``drafts/<owner>~<id>~<key>`` | stored under its key, but perhaps not yet named by an event |

A blob appears under its key whole and durable, or not at all: it is written as a draft, synced,
linked to its key, and its folder synced. The draft goes when its writer leaves the draft's
context, so a writer that appends the event there leaves a trace of what it did not finish. Keys
are made from ids that we drew ourselves, never from names that a user sent.

A circuit breaker stands before drafts alone. A disk that is full or read-only still gives what it
has, and deleting is what makes room again; a read that fails costs nothing but the read. Its probe
writes as much as a small photo, because a full disk has room for an empty file.
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec
from anyio import to_thread

from store import disk
from store.breaker import Breaker
from store.errors import Full, Unavailable
from store.observing import OperationObserver, ignore, operation

BUCKET = "photolog"
PROBES = "probes"
CHUNK_BYTES = 1 << 20

_KEY = re.compile(r"[a-z0-9]([a-z0-9./-]*[a-z0-9])?", re.ASCII)
_BUFFER_BYTES = 1 << 20
_PROBE_BYTES = 1 << 20
_FAILURES = (Full, Unavailable)


def original_key(photo_id: str) -> str:
    return f"originals/{photo_id[:2]}/{photo_id}"


def rendition_key(photo_id: str, job_id: str, name: str) -> str:
    """The same for every attempt of a job, so that trying again leaves nothing behind."""
    return f"renditions/{photo_id[:2]}/{photo_id}/{job_id}/{name}"


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """``modified`` is in seconds since 1970."""

    key: str
    size: int
    modified: float


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer that is gone left in ``drafts``.

    ``key`` is that of a blob that it stored, of which it is not known whether an event names it.
    """

    draft: str
    key: str | None


class Draft:
    """A blob being written. Leaving its context without ``commit`` leaves nothing behind.

    ``size`` in bytes and ``sha256`` in hex are those of what was written so far. Entering it raises
    Full when no more than the reserve is free.
    """

    def __init__(self, blobs: "FolderBlobs") -> None:
        self.observe = blobs.observe
        self._blobs = blobs
        self._path = blobs.new_draft()
        self._file: BinaryIO | None = None
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    async def __aenter__(self) -> Self:
        await self._blobs.check()
        with self._counted():
            self._file = await to_thread.run_sync(self._create)
        return self

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Raises Full when the disk has no room but its reserve."""
        self._buffer += chunk
        self.size += len(chunk)
        if len(self._buffer) >= _BUFFER_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Bring ``sha256`` up to all that was written."""
        if self._buffer:
            buffer, self._buffer = self._buffer, bytearray()
            with self._counted():
                await to_thread.run_sync(self._drain, buffer)

    @operation("put")
    async def commit(self, key: str) -> None:
        """Make the blob durable under ``key``, in place of any blob there."""
        path = _path(self._blobs.root, key)
        await self.flush()
        with self._counted():
            await to_thread.run_sync(self._publish, path, key)
        self._blobs.breaker.note(well=True)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # In this thread: a cancelled upload must not leave its draft, and unlinking is quick.
        if self._file is not None:
            # Where the disk has failed, the next process of this name finds what stays.
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            with suppress(OSError):
                self._file.close()

    @contextmanager
    def _counted(self) -> Generator[None]:
        """A step of which only the failure says how the disk is: a full one takes a first part."""
        try:
            with disk.translated():
                yield
        except _FAILURES:
            self._blobs.breaker.note(well=False)
            raise

    def _create(self) -> BinaryIO:
        self._blobs.find_room(0)
        return disk.create(self._path)

    def _drain(self, buffer: bytearray) -> None:
        if self._file is None:
            raise ValueError("the draft is not open")
        self._blobs.find_room(len(buffer))
        self._hash.update(buffer)
        disk.write(self._file, buffer)

    def _publish(self, path: Path, key: str) -> None:
        if self._file is None:
            raise ValueError("the draft is not open")
        os.fsync(self._file.fileno())
        link = self._path.with_name(f"{self._path.name}.link")
        self._path = self._path.rename(f"{self._path}~{key.replace('/', '~')}")
        # A link cannot replace a file that is there, a rename can.
        link.hardlink_to(self._path)
        try:
            disk.move(link, path, self._blobs.root)
        except OSError:
            link.unlink(missing_ok=True)
            raise
        disk.sync_folder(path.parent)


class FolderBlobs:
    """Blobs under one folder of this machine.

    ``owner`` names the writing process; only one process of a name may run at a time. Its drafts
    leave ``reserve_bytes`` of the disk free, for what is kept there beside the blobs. ``observe``
    is told of every ``put``, ``get``, ``stat``, ``list`` and ``delete``.
    """

    bucket = BUCKET

    def __init__(
        self,
        root: Path,
        owner: str = "writer",
        *,
        reserve_bytes: int = 0,
        breaker: Breaker | None = None,
        observe: OperationObserver = ignore,
    ) -> None:
        self.root = root
        self.breaker = breaker or Breaker("blobs")
        self.observe = observe
        self._owner = owner
        self._reserve_bytes = reserve_bytes
        (root / disk.DRAFTS).mkdir(parents=True, exist_ok=True)

    async def check(self) -> None:
        """Nothing while blobs are thought to be taken; else try it, as soon as it is time.

        Raises:
            CircuitOpen: it is not time yet, or someone else is trying.
            Full, Unavailable: the disk still fails.
        """
        if self.breaker.state == "closed":
            return
        with self.breaker.call(_FAILURES), disk.translated():
            await to_thread.run_sync(self._try_out)

    def draft(self) -> Draft:
        """A new blob to write; raises Full, Unavailable, CircuitOpen."""
        return Draft(self)

    def new_draft(self) -> Path:
        """A path for a file that is worthless once its writer is gone."""
        return self.root / disk.DRAFTS / f"{self._owner}~{uuid.uuid4().hex}"

    def find_room(self, size: int) -> None:
        """Raises Full if ``size`` bytes more would use up the reserve."""
        if self._reserve_bytes == 0:
            return
        if shutil.disk_usage(self.root).free - size < self._reserve_bytes:
            raise Full("the disk of the blobs is full but for its reserve")

    async def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, durably."""
        async with self.draft() as draft:
            await draft.write(data)
            await draft.commit(key)

    @operation("stat")
    async def size(self, key: str) -> int:
        """In bytes; raises Missing."""
        with disk.translated(self.root, key):
            return (await to_thread.run_sync(_path(self.root, key).stat)).st_size

    async def read(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes from ``start`` on, in chunks of at most ``CHUNK_BYTES``; raises Missing."""
        with await self._open(key) as file:
            file.seek(start)
            left = length
            while left is None or left > 0:
                chunk = await to_thread.run_sync(
                    file.read, CHUNK_BYTES if left is None else min(left, CHUNK_BYTES)
                )
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk

    @asynccontextmanager
    async def local(self, key: str) -> AsyncGenerator[Path]:
        """A file of this machine that holds the blob, for as long as the context lasts.

        Raises Missing.
        """
        yield await self._find(key)

    @operation("delete")
    async def delete(self, key: str) -> None:
        """Remove the blob; nothing happens if there is none."""
        with disk.translated():
            await to_thread.run_sync(disk.remove, _path(self.root, key), self.root)

    @operation("list")
    async def keys(self, prefix: str) -> list[Blob]:
        """All blobs whose key starts with the folder ``prefix``, in order of key."""
        with disk.translated():
            return await to_thread.run_sync(lambda: list(_walk(self.root, prefix)))

    async def leftovers(self) -> list[Leftover]:
        """What an earlier process of this owner's name left; call before the first draft."""
        with disk.translated():
            return await to_thread.run_sync(lambda: list(_leftovers(self.root, self._owner)))

    async def clear(self, leftover: Leftover) -> None:
        """Forget a leftover; the blob under its key, if any, stays."""
        with disk.translated():
            path = self.root / disk.DRAFTS / leftover.draft
            await to_thread.run_sync(lambda: path.unlink(missing_ok=True))

    async def free_bytes(self) -> int:
        """Room left on the disk."""
        with disk.translated():
            return (await to_thread.run_sync(shutil.disk_usage, self.root / disk.DRAFTS)).free

    def _try_out(self) -> None:
        self.find_room(_PROBE_BYTES)
        disk.try_out(self.new_draft(), _PROBE_BYTES)

    @operation("get")
    async def _open(self, key: str) -> BinaryIO:
        with disk.translated(self.root, key):
            return await to_thread.run_sync(lambda: _path(self.root, key).open("rb"))

    @operation("get")
    async def _find(self, key: str) -> Path:
        path = _path(self.root, key)
        with disk.translated(self.root, key):
            path.stat()  # in this thread: it takes less than the way to another
        return path


def _path(root: Path, key: str) -> Path:
    if not _KEY.fullmatch(key) or ".." in key or "//" in key:
        raise ValueError(f"{key!r} is not a key")
    return root / key


def _walk(root: Path, prefix: str) -> Iterator[Blob]:
    (root / disk.DRAFTS).stat()  # which fails where no disk is mounted: a walk would find nothing
    for folder, _, names in os.walk(root / prefix):
        for name in names:
            path = Path(folder, name)
            try:
                stat = path.stat()
            except FileNotFoundError:  # deleted meanwhile
                continue
            yield Blob(
                key=path.relative_to(root).as_posix(), size=stat.st_size, modified=stat.st_mtime
            )


def _leftovers(root: Path, owner: str) -> Iterator[Leftover]:
    for path in sorted((root / disk.DRAFTS).glob(f"{owner}~*")):
        _, _, name = path.name.partition("~")
        _, _, rest = name.partition("~")
        key = rest.replace("~", "/") or None
        if key is not None and not (root / key).exists():
            key = None
        elif key is not None and not (root / key).samefile(path):
            key = None  # someone else has stored the blob since
        yield Leftover(draft=path.name, key=key)
