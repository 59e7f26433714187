"""Keep copies of remote blobs as files on this machine, for decoders, which only read files.

Several stages read a photo one after the other, so a copy is kept for some seconds after its use;
no longer, because a process that does not know of the copy may delete the photo.
"""

import asyncio
import fcntl
import os
import shutil
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio

from store.blobs import disk

KEEP_S = 10.0

Fetch = Callable[[Path], Awaitable[None]]
"""Writes the blob to a file at the given path."""


class _Copy:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = anyio.Lock()
        self.users = 0
        self.size = 0
        self.is_whole = False
        self.used_at = 0.0
        self.keep_s = KEEP_S


class LocalCopies:
    """Copies in a folder of this process's own, created under ``folder`` when needed.

    Unused copies are removed after ``KEEP_S``, or earlier, least recently used first, while all
    copies exceed ``max_bytes``. Copies of processes that are gone are removed too.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._root = folder
        self._max_bytes = max_bytes
        self._own: Path | None = None
        self._lock = -1
        self._copies: OrderedDict[str, _Copy] = OrderedDict()

    @asynccontextmanager
    async def of(self, key: str, fetch: Fetch) -> AsyncGenerator[Path]:
        """Provide the file, fetched if needed; raises what ``fetch`` does, Full, Unavailable."""
        with disk.translated():
            copy = self._find(key)
        copy.users += 1
        try:
            async with copy.lock:
                if not copy.is_whole:
                    with disk.translated():
                        await fetch(copy.path)
                        copy.size = copy.path.stat().st_size
                    copy.is_whole = True
            yield copy.path
        finally:
            copy.users -= 1
            copy.used_at = time.monotonic()
            self._tidy()
            asyncio.get_running_loop().call_later(KEEP_S, self._tidy)

    def forget(self, key: str) -> None:
        """Remove the copy of the blob as soon as nobody uses it."""
        if key in self._copies:
            self._copies[key].keep_s = 0.0
            self._tidy()

    def close(self) -> None:
        """Remove all copies."""
        self._copies.clear()
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._lock)
            self._own = None

    def _find(self, key: str) -> _Copy:
        if key not in self._copies:
            self._copies[key] = _Copy(self._folder() / uuid.uuid4().hex)
        self._copies.move_to_end(key)
        return self._copies[key]

    def _tidy(self) -> None:
        size = sum(copy.size for copy in self._copies.values())
        now = time.monotonic()
        for key, copy in tuple(self._copies.items()):
            is_kept = copy.is_whole and now < copy.used_at + copy.keep_s
            if copy.users or (is_kept and size <= self._max_bytes):
                continue
            size -= copy.size
            del self._copies[key]
            with suppress(OSError):
                copy.path.unlink(missing_ok=True)

    def _folder(self) -> Path:
        if self._own is None:
            with _alone(self._root):
                _remove_abandoned(self._root)
                own = self._root / uuid.uuid4().hex
                own.mkdir(mode=0o700)
                self._lock = os.open(own, os.O_RDONLY)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._own = own
        return self._own


@contextmanager
def _alone(root: Path) -> Generator[None]:
    """Lock the root, so that no other process creates or removes a folder there."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _remove_abandoned(root: Path) -> None:
    """Remove the folders whose process is gone, which are no longer locked."""
    for folder in root.iterdir():
        if not folder.is_dir():
            continue
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)
