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
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec
from anyio import to_thread

from store.errors import Full, Missing, Unavailable
from store.observing import OperationObserver, ignore, operation

BUCKET = "photolog"
PROBES = "probes"
CHUNK_BYTES = 1 << 20

_KEY = re.compile(r"[a-z0-9]([a-z0-9./-]*[a-z0-9])?", re.ASCII)
_BUFFER_BYTES = 1 << 20


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

    def __init__(
        self,
        root: Path,
        owner: str,
        *,
        reserve_bytes: int,
        observe: OperationObserver = ignore,
    ) -> None:
        self.observe = observe
        self._root = root
        self._reserve_bytes = reserve_bytes
        self._path = root / "drafts" / f"{owner}~{uuid.uuid4().hex}"
        self._file: BinaryIO | None = None
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    async def __aenter__(self) -> Self:
        with _translated():
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
            with _translated():
                await to_thread.run_sync(self._drain, buffer)

    @operation("put")
    async def commit(self, key: str) -> None:
        """Make the blob durable under ``key``, in place of any blob there."""
        path = _path(self._root, key)
        await self.flush()
        with _translated():
            await to_thread.run_sync(self._publish, path, key)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # In this thread: a cancelled upload must not leave its draft, and unlinking is quick.
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def _create(self) -> BinaryIO:
        self._find_room(0)
        return self._path.open("xb", buffering=0)

    def _find_room(self, size: int) -> None:
        if self._reserve_bytes == 0:
            return
        if shutil.disk_usage(self._root).free - size < self._reserve_bytes:
            raise Full("the disk of the blobs is full but for its reserve")

    def _drain(self, buffer: bytearray) -> None:
        if self._file is None:
            raise ValueError("the draft is not open")
        self._find_room(len(buffer))
        self._hash.update(buffer)
        left = memoryview(buffer)
        while left:  # an unbuffered write may take a part, so that the next can say why
            left = left[self._file.write(left) :]

    def _publish(self, path: Path, key: str) -> None:
        if self._file is None:
            raise ValueError("the draft is not open")
        os.fsync(self._file.fileno())
        link = self._path.with_name(f"{self._path.name}.link")
        self._path = self._path.rename(f"{self._path}~{key.replace('/', '~')}")
        # A link cannot replace a file that is there, a rename can.
        link.hardlink_to(self._path)
        try:
            _move(link, path, self._root)
        except OSError:
            link.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


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
        observe: OperationObserver = ignore,
    ) -> None:
        self.root = root
        self.observe = observe
        self._owner = owner
        self._reserve_bytes = reserve_bytes
        (root / "drafts").mkdir(parents=True, exist_ok=True)

    def draft(self) -> Draft:
        """A new blob to write; raises Full, Unavailable."""
        return Draft(
            self.root, self._owner, reserve_bytes=self._reserve_bytes, observe=self.observe
        )

    async def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, durably."""
        async with self.draft() as draft:
            await draft.write(data)
            await draft.commit(key)

    @operation("stat")
    async def size(self, key: str) -> int:
        """In bytes; raises Missing."""
        with _translated(key):
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
        """A file of this machine that holds the blob, for as long as the context lasts."""
        yield await self._find(key)

    @operation("delete")
    async def delete(self, key: str) -> None:
        """Remove the blob; nothing happens if there is none."""
        with _translated():
            await to_thread.run_sync(_remove, self.root, _path(self.root, key))

    @operation("list")
    async def keys(self, prefix: str) -> list[Blob]:
        """All blobs whose key starts with the folder ``prefix``, in order of key."""
        with _translated():
            return await to_thread.run_sync(lambda: list(_walk(self.root, prefix)))

    async def leftovers(self) -> list[Leftover]:
        """What an earlier process of this owner's name left; call before the first draft."""
        with _translated():
            return await to_thread.run_sync(lambda: list(_leftovers(self.root, self._owner)))

    async def clear(self, leftover: Leftover) -> None:
        """Forget a leftover; the blob under its key, if any, stays."""
        with _translated():
            path = self.root / "drafts" / leftover.draft
            await to_thread.run_sync(lambda: path.unlink(missing_ok=True))

    async def free_bytes(self) -> int:
        """Room left on the disk."""
        with _translated():
            return (await to_thread.run_sync(shutil.disk_usage, self.root)).free

    @operation("get")
    async def _open(self, key: str) -> BinaryIO:
        with _translated(key):
            return await to_thread.run_sync(lambda: _path(self.root, key).open("rb"))

    @operation("get")
    async def _find(self, key: str) -> Path:
        path = _path(self.root, key)
        if not await to_thread.run_sync(path.exists):
            raise Missing(f"there is no blob {key}")
        return path


def _path(root: Path, key: str) -> Path:
    if not _KEY.fullmatch(key) or ".." in key or "//" in key:
        raise ValueError(f"{key!r} is not a key")
    return root / key


def _move(file: Path, path: Path, root: Path) -> None:
    while True:
        _make_folders(path.parent, root)
        try:
            file.rename(path)
            return
        except FileNotFoundError:
            # The deletion of another blob has removed the folder that was empty again.
            if not file.exists():
                raise


def _make_folders(folder: Path, root: Path) -> None:
    made: list[Path] = []
    while folder != root and not folder.exists():
        made.append(folder)
        folder = folder.parent
    for new in reversed(made):
        new.mkdir(parents=True, exist_ok=True)
        _sync_folder(new.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(root: Path, path: Path) -> None:
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder in (root, root / "originals", root / "renditions"):
            return
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone already
            return


def _walk(root: Path, prefix: str) -> Iterator[Blob]:
    for folder, _, names in os.walk(root / prefix):
        for name in names:
            path = Path(folder, name)
            stat = path.stat()
            yield Blob(
                key=path.relative_to(root).as_posix(), size=stat.st_size, modified=stat.st_mtime
            )


def _leftovers(root: Path, owner: str) -> Iterator[Leftover]:
    for path in sorted((root / "drafts").glob(f"{owner}~*")):
        _, _, name = path.name.partition("~")
        _, _, rest = name.partition("~")
        key = rest.replace("~", "/") or None
        if key is not None and not (root / key).exists():
            key = None
        elif key is not None and not (root / key).samefile(path):
            key = None  # someone else has stored the blob since
        yield Leftover(draft=path.name, key=key)


@contextmanager
def _translated(key: str = "") -> Generator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise Missing(f"there is no blob {key}") from error
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise Full("the disk of the blobs is full") from error
        raise Unavailable(f"the disk of the blobs failed: {error.strerror}") from error
