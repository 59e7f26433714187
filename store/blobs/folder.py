"""Blobs in a folder: one file each, whose path under the root is its key.

A blob is written as a draft, synced, linked to its key, and its folder is synced. The draft is
removed when its writer leaves the draft's context. That removal is not synced: after a power cut
the draft may be back, and the next process with its writer's name removes it. A deletion does sync
it, because the draft is another name of the file.

A disk that is full or read-only can still be read, and deleting makes room again, so the circuit
breaker guards neither. A full disk does not open it: each write fails with Full until there is
room.
"""

import hashlib
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from anyio import to_thread

from store.blobs import disk
from store.blobs.interface import (
    CHUNK_BYTES,
    DRAFTS,
    FAILURES,
    PROBE_BYTES,
    Blob,
    Leftover,
    checked,
    new_draft,
    trace_of,
    traced,
)
from store.blobs.s3_server import BUCKET
from store.breaker import Breaker
from store.errors import Corrupt, Full, Missing, Unavailable
from store.observing import OperationObserver, ignore, operation

_BUFFER_BYTES = 1 << 20


class FolderDraft:
    """See ``Draft``. Entering and writing raise Full if only the reserve is free."""

    def __init__(self, blobs: "FolderBlobs", key: str, *, replace: bool = False) -> None:
        self.observe = blobs.observe
        self.key = key
        self._blobs = blobs
        self._target = _path(blobs.root, key)
        self._replace = replace
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
        """Append the chunk; raises Full if the disk has no room beyond its reserve."""
        self._buffer += chunk
        self.size += len(chunk)
        if len(self._buffer) >= _BUFFER_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Include everything written so far in ``sha256``."""
        if self._buffer:
            buffer, self._buffer = self._buffer, bytearray()
            with self._counted():
                await to_thread.run_sync(self._drain, buffer)

    @operation("put")
    async def commit(self) -> None:
        await self.flush()
        with self._counted():
            await to_thread.run_sync(self._publish)
        self._blobs.breaker.note(well=True)

    @operation("put")
    async def put(self, data: bytes) -> None:
        """Write and commit without a context, all in one thread, to save thread switches."""
        await self._blobs.check()
        try:
            with self._counted():
                await to_thread.run_sync(self._put, data)
        finally:
            self._leave()
        self._blobs.breaker.note(well=True)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        # In this thread: a cancelled upload must remove its draft, and unlinking is quick.
        if self._file is not None:
            # If the disk has failed, the next process of this name removes the rest.
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            with suppress(OSError):
                self._file.close()

    @contextmanager
    def _counted(self) -> Generator[None]:
        """Count only failures of this step: a failing disk may accept the first part."""
        try:
            with disk.translated(key=self.key):
                yield
        except FAILURES:
            self._blobs.breaker.note(well=False)
            raise

    def _put(self, data: bytes) -> None:
        self._file = self._create()
        self._drain(data)
        self._publish()

    def _create(self) -> BinaryIO:
        self._blobs.check_reserve(0)
        return disk.create(self._path)

    def _drain(self, buffer: bytes | bytearray) -> None:
        if self._file is None:
            raise ValueError("the draft is not open")
        self._blobs.check_reserve(len(buffer))
        self._hash.update(buffer)
        disk.write(self._file, buffer)

    def _publish(self) -> None:
        if self._file is None:
            raise ValueError("the draft is not open")
        os.fsync(self._file.fileno())
        self._path = self._path.rename(self._path.with_name(trace_of(self._path.name, self.key)))
        disk.link(self._target, self._path, self._blobs.folders, replace=self._replace)


class FolderBlobs:
    """Blobs under one folder of this machine; see ``Blobs``.

    ``owner`` names the writing process; only one process of a name may run at a time. Drafts leave
    ``reserve_bytes`` of the disk free, for other files on it. ``observe`` is called for every
    ``put``, ``get``, ``stat``, ``list`` and ``delete``.
    """

    bucket = BUCKET
    link_origin = None

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
        self.folders = disk.Folders(root)
        disk.make_folder(root / DRAFTS)

    async def check(self) -> None:
        if self.breaker.state == "closed":
            return
        with self.breaker.call(FAILURES, trial=True), disk.translated():
            await to_thread.run_sync(self._try_out)

    def draft(self, key: str, *, replace: bool = False) -> FolderDraft:
        return FolderDraft(self, key, replace=replace)

    def new_draft(self) -> Path:
        """Return a path for a file that is worthless once its writer is gone."""
        return self.root / DRAFTS / new_draft(self._owner)

    def check_reserve(self, size: int) -> None:
        """Raise Full if ``size`` more bytes would use the reserve."""
        if self._reserve_bytes == 0:
            return
        if shutil.disk_usage(self.root).free - size < self._reserve_bytes:
            raise Full("the disk of the blobs is full, except for its reserve")

    async def put(self, key: str, data: bytes) -> None:
        await FolderDraft(self, key, replace=True).put(data)

    @operation("stat")
    async def size(self, key: str) -> int:
        with disk.translated(self.root, key):
            return (await to_thread.run_sync(_path(self.root, key).stat)).st_size

    async def read(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        with await self._open(key) as file, disk.translated():
            async for chunk in _chunks(file, start, length):
                yield chunk

    @asynccontextmanager
    async def local(self, key: str) -> AsyncGenerator[Path]:
        yield await self._find(key)

    @operation("delete")
    async def delete(self, key: str) -> None:
        with disk.translated():
            await to_thread.run_sync(self._remove, key)

    @operation("list")
    async def keys(self, prefix: str) -> list[Blob]:
        with disk.translated():
            found = await to_thread.run_sync(lambda: list(_walk(self.root, prefix)))
        return sorted(found, key=lambda blob: blob.key)

    def link(self, key: str, *, mime_type: str, disposition: str) -> None:
        """Return None: only this machine reaches the folder."""

    async def leftovers(self) -> list[Leftover]:
        with disk.translated():
            return await to_thread.run_sync(lambda: list(_leftovers(self.root, self._owner)))

    async def clear(self, leftover: Leftover) -> None:
        with disk.translated():
            path = self.root / DRAFTS / leftover.draft
            await to_thread.run_sync(self.folders.remove, path)

    async def free_bytes(self) -> int:
        with disk.translated():
            return (await to_thread.run_sync(shutil.disk_usage, self.root / DRAFTS)).free

    def _remove(self, key: str) -> None:
        self.folders.remove(_path(self.root, key))
        disk.sync_folder(self.root / DRAFTS)

    def _try_out(self) -> None:
        self.check_reserve(PROBE_BYTES)
        disk.try_out(self.new_draft(), PROBE_BYTES)

    @operation("get")
    async def _open(self, key: str) -> BinaryIO:
        with disk.translated(self.root, key):
            return await to_thread.run_sync(lambda: _path(self.root, key).open("rb"))

    @operation("get")
    async def _find(self, key: str) -> Path:
        path = _path(self.root, key)
        with disk.translated(self.root, key):
            path.stat()  # in this thread: faster than a switch to another
        return path


class FolderReader:
    """Reads a folder without writing to it: it may be evidence, or a backup without drafts.

    ``read`` raises Missing, and Corrupt for a file that exists but cannot be read. A folder that is
    empty, as an unmounted disk leaves it, or that does not exist, is Unavailable.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def read(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        path = _path(self._root, key)
        try:
            with await to_thread.run_sync(lambda: path.open("rb")) as file:
                async for chunk in _chunks(file, start, length):
                    yield chunk
        except FileNotFoundError as error:
            await to_thread.run_sync(self._check)
            raise Missing(f"blob {key} does not exist") from error
        except OSError as error:
            raise Corrupt(f"blob {key} cannot be read: {error.strerror}") from error

    async def keys(self, prefix: str) -> list[Blob]:
        """See ``Blobs.keys``."""
        with disk.translated():
            found = await to_thread.run_sync(lambda: list(_files_below(self._root, prefix)))
        if not found:
            await to_thread.run_sync(self._check)
        return sorted(found, key=lambda blob: blob.key)

    def _check(self) -> None:
        """Return if there is anything; raises Unavailable."""
        with disk.translated(), os.scandir(self._root) as entries:
            if next(entries, None) is None:
                raise Unavailable(f"the disk of the blobs has nothing in {self._root}")


async def _chunks(file: BinaryIO, start: int, length: int | None) -> AsyncIterator[bytes]:
    file.seek(start)
    left = length
    while left is None or left > 0:
        size = CHUNK_BYTES if left is None else min(left, CHUNK_BYTES)
        chunk = await to_thread.run_sync(file.read, size)
        if not chunk:
            return
        if left is not None:
            left -= len(chunk)
        yield chunk


def _path(root: Path, key: str) -> Path:
    return root / checked(key)


def _walk(root: Path, prefix: str) -> Iterator[Blob]:
    (root / DRAFTS).stat()  # fails if no disk is mounted, where a walk would find nothing
    yield from _files_below(root, prefix)


def _files_below(root: Path, prefix: str) -> Iterator[Blob]:
    for folder, _, names in os.walk(root / prefix, onerror=_reject_unreadable):
        for name in names:
            path = Path(folder, name)
            try:
                stat = path.stat()
            except FileNotFoundError:  # deleted meanwhile
                continue
            yield Blob(
                key=path.relative_to(root).as_posix(), size=stat.st_size, modified=stat.st_mtime
            )


def _reject_unreadable(error: OSError) -> None:
    """Fail, because a list without the blobs of this folder would say that they do not exist."""
    if not isinstance(error, FileNotFoundError):  # deleted meanwhile, or without blobs yet
        raise error


def _leftovers(root: Path, owner: str) -> Iterator[Leftover]:
    for path in sorted((root / DRAFTS).glob(f"{owner}~*")):
        _, key = traced(path.name)
        if key is not None and not (root / key).exists():
            key = None
        elif key is not None and not (root / key).samefile(path):
            key = None  # another writer has stored the blob since
        yield Leftover(draft=path.name, key=key)
