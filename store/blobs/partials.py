"""Keep the bytes of unfinished uploads in a folder of this machine, beside the blobs.

| file | what |
|---|---|
| ``open/<client>/<id>.json`` | the state of an unfinished upload |
| ``open/<client>/<id>.bytes`` | its bytes; those after the ``offset`` in the state do not count |
| ``ended/<client>/<id>.json`` | how an upload ended, kept for ``ENDED_KEPT_S`` |

``<client>`` is derived from the client's id by SHA-256, and ``<id>`` is random: no path contains
anything that a client sent, and an upload of another client is not found.

``offset`` only grows over bytes that have been synced, and the state is replaced atomically. So
after a crash at any moment the state names an offset whose bytes are on the disk. Whatever follows
in the file was not acknowledged, and the next writer cuts it off.

The file of the bytes is locked while an upload is used, so that two processes that share the folder
never write to one upload at the same time.
"""

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import anyio
import msgspec
from anyio import to_thread

from store.blobs import disk
from store.blobs.interface import CHUNK_BYTES
from store.blobs.partial_state import Ending, Partial, Recorded, load, save
from store.errors import Full, Missing, StoreError

T = TypeVar("T")

OPEN, ENDED = "open", "ended"
ENDED_KEPT_S = 3600.0
"""How long an ended upload still answers how it ended; then it is unknown."""

_BUFFER_BYTES = 1 << 20

LEFT_S = 60.0
"""How old a file without a state is before it counts as left behind."""

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Locked(StoreError):
    """Another process uses the upload."""


class PartialFile:
    """The locked bytes of one unfinished upload, and its state.

    ``write`` appends; ``keep`` makes what was written durable and part of the state; ``undo`` drops
    what was not kept. ``state`` may be replaced; ``keep`` saves it.
    """

    def __init__(self, partials: "Partials", file: BinaryIO, state: Partial) -> None:
        self.state = state
        self._partials = partials
        self._file = file
        self._saved: Partial = state
        self._written = state.offset
        self._buffer = bytearray()

    @property
    def end(self) -> int:
        """Return the offset after the bytes that were written, kept or not."""
        return self._written + len(self._buffer)

    async def write(self, chunk: bytes) -> None:
        """Append the chunk; raises Full, Unavailable."""
        self._buffer += chunk
        if len(self._buffer) >= _BUFFER_BYTES:
            await self._flush()

    async def keep(self) -> Partial:
        """Make all bytes durable, then the state with their number; return it."""
        await self._flush()
        return await _in_thread(self._keep)

    async def undo(self) -> None:
        """Cut off the bytes that were not kept."""
        self._buffer.clear()
        self._written = self.state.offset
        await _in_thread(self._file.truncate, self._written)

    async def head(self, size: int) -> bytes:
        """Return the first ``size`` bytes, or all if there are fewer."""
        await self._flush()
        return await _in_thread(os.pread, self._file.fileno(), min(size, self._written), 0)

    async def read(self) -> AsyncGenerator[bytes]:
        """Yield the kept bytes, in chunks of at most ``CHUNK_BYTES``."""
        at = 0
        while chunk := await _in_thread(
            os.pread, self._file.fileno(), min(CHUNK_BYTES, self.state.offset - at), at
        ):
            at += len(chunk)
            yield chunk

    async def end_as(self, ending: Ending, recorded: Recorded | None = None) -> Partial:
        """End the upload: its bytes are removed, and its state says how it ended."""
        self.state = await self._partials.end(self.state, ending, recorded)
        return self.state

    def close(self) -> None:
        self._file.close()

    async def _flush(self) -> None:
        if self._buffer:
            buffer, self._buffer = self._buffer, bytearray()
            at, self._written = self._written, self._written + len(buffer)
            try:
                await _in_thread(self._write, buffer, at)
            except StoreError:
                self._written = at
                raise

    def _write(self, buffer: bytearray, at: int) -> None:
        self._partials.check_reserve(len(buffer))
        self._file.seek(at)
        disk.write(self._file, buffer)

    def _keep(self) -> Partial:
        state = msgspec.structs.replace(self.state, offset=self._written)
        if state != self._saved:
            os.fsync(self._file.fileno())
            self._partials.save(state)
            self.state, self._saved = state, state
        return state


class Partials:
    """The unfinished uploads in a folder, which several processes of a machine may share.

    The folder is made when the first upload is created. Writes leave ``reserve_bytes`` of the disk
    free. Methods raise Unavailable and Full like those of ``Blobs``.
    """

    def __init__(self, root: Path, *, reserve_bytes: int = 0) -> None:
        self.root = root
        self._reserve_bytes = reserve_bytes

    async def create(self, state: Partial) -> PartialFile:
        """Create the upload, durably, and lock it; the caller closes the file."""
        return await _in_thread(self._create, state)

    async def open(self, client_id: str, upload_id: str) -> PartialFile:
        """Lock the unfinished upload for use; the caller closes the file.

        Raises:
            Missing: there is no such unfinished upload of this client.
            Locked: another process uses it.
        """
        return await _in_thread(self._open, client_id, upload_id)

    async def ended(self, client_id: str, upload_id: str) -> Partial:
        """Return the state of an ended upload; raises Missing."""
        return await _in_thread(self._load_ended, client_id, upload_id)

    async def open_of(self, client_id: str) -> list[Partial]:
        """Return the client's unfinished uploads."""
        return await _in_thread(self._load_open, client_id)

    async def held_bytes(self, client_id: str) -> int:
        """Return the bytes that the client's unfinished uploads take, or are going to take."""
        return sum(each.held_bytes for each in await self.open_of(client_id))

    async def end(
        self, state: Partial, ending: Ending, recorded: Recorded | None = None
    ) -> Partial:
        """Record how the upload ended, and remove its bytes."""
        return await _in_thread(self._end, state, ending, recorded)

    async def sweep(self) -> int:
        """End what has expired and is not in use, forget what ended long ago; return the former."""
        return await _in_thread(self._sweep)

    async def totals(self) -> tuple[int, int]:
        """Return how many uploads are unfinished, and how many bytes of them have arrived.

        Opens no file: this is asked at each scrape of the metrics.
        """
        return await _in_thread(self._totals)

    def check_reserve(self, size: int) -> None:
        """Raise Full if ``size`` more bytes would use the reserve."""
        if self._reserve_bytes and shutil.disk_usage(self.root).free - size < self._reserve_bytes:
            raise Full("the disk of unfinished uploads is full, except for its reserve")

    def save(self, state: Partial) -> None:
        """Replace the state of an unfinished upload, durably."""
        save(self._state(OPEN, state.client_id, state.upload_id), state)

    def _create(self, state: Partial) -> PartialFile:
        folder = self._folder(OPEN, state.client_id)
        while True:
            disk.make_folder(folder)
            try:
                file = (folder / f"{state.upload_id}.bytes").open("x+b", buffering=0)
                break
            except FileNotFoundError:  # a sweep has removed the folder, which was empty
                continue
        try:
            _lock(file)
            self.check_reserve(state.length or 0)
            self.save(state)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            file.close()
            raise
        return PartialFile(self, file, state)

    def _open(self, client_id: str, upload_id: str) -> PartialFile:
        path = self._state(OPEN, client_id, upload_id)
        try:
            file = path.with_suffix(".bytes").open("r+b", buffering=0)
        except FileNotFoundError as error:
            raise Missing(f"upload {upload_id} does not exist") from error
        try:
            _lock(file)
            state = self._load_locked(path, file)
        except BaseException:
            file.close()
            raise
        return PartialFile(self, file, state)

    def _load_locked(self, path: Path, file: BinaryIO) -> Partial:
        """Load the state under the lock, before which another process may have changed it."""
        state = load(path)
        if self._state(ENDED, state.client_id, state.upload_id).exists():
            self._remove(path)  # a crash came between the record of the end and this
            raise Missing(f"upload {path.stem} has ended")
        if file.seek(0, os.SEEK_END) < state.offset:
            raise Missing(f"bytes of upload {path.stem} are missing")
        file.truncate(state.offset)
        return state

    def _load_ended(self, client_id: str, upload_id: str) -> Partial:
        return load(self._state(ENDED, client_id, upload_id))

    def _load_open(self, client_id: str) -> list[Partial]:
        return list(_states(self._folder(OPEN, client_id)))

    def _end(self, state: Partial, ending: Ending, recorded: Recorded | None) -> Partial:
        ended = msgspec.structs.replace(
            state, ending=ending, ended_s=time.time(), recorded=recorded
        )
        new = self._state(ENDED, state.client_id, state.upload_id)
        disk.make_folder(new.parent)
        save(new, ended)
        self._remove(self._state(OPEN, state.client_id, state.upload_id))
        return ended

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        path.with_suffix(".bytes").unlink(missing_ok=True)
        disk.sync_folder(path.parent)

    def _sweep(self) -> int:
        now, expired = time.time(), 0
        for folder in _folders(self.root / OPEN):
            for state in list(_states(folder)):
                if state.expires_s > now:
                    continue
                with suppress(Missing, Locked):
                    file = self._open(state.client_id, state.upload_id)
                    self._end(file.state, "expired", None)
                    file.close()
                    expired += 1
            _tidy(folder, now)
        for folder in _folders(self.root / ENDED):
            for path in folder.glob("*.json"):
                _remove_if_older(path, now - ENDED_KEPT_S)
            _tidy(folder, now)
        return expired

    def _totals(self) -> tuple[int, int]:
        count = size = 0
        for folder in _folders(self.root / OPEN):
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".json"):
                        count += 1
                    elif entry.name.endswith(".bytes"):
                        with suppress(FileNotFoundError):  # it has ended meanwhile
                            size += entry.stat().st_size
        return count, size

    def _state(self, place: str, client_id: str, upload_id: str) -> Path:
        if not _ID.fullmatch(upload_id):
            raise Missing("this is not the id of an upload")
        return self._folder(place, client_id) / f"{upload_id}.json"

    def _folder(self, place: str, client_id: str) -> Path:
        return self.root / place / hashlib.sha256(client_id.encode()).hexdigest()[:32]


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(root.iterdir())
    except FileNotFoundError:
        return []


def _states(folder: Path) -> Iterator[Partial]:
    for path in sorted(folder.glob("*.json")):
        with suppress(Missing):  # it has ended meanwhile
            yield load(path)


def _tidy(folder: Path, now: float) -> None:
    """Remove what a crash has left without a state, and the folder if it is empty."""
    for path in folder.glob("*"):
        has_state = path.suffix == ".json" or path.with_suffix(".json").exists()
        if not has_state:
            _remove_if_older(path, now - LEFT_S)
    with suppress(OSError):  # it is not empty
        folder.rmdir()


def _remove_if_older(path: Path, before: float) -> None:
    with suppress(FileNotFoundError):  # another process has removed it
        if path.stat().st_mtime < before:
            path.unlink()


def _lock(file: BinaryIO) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Locked("another process uses this upload") from error


async def _in_thread(function: Callable[..., T], *arguments: object) -> T:
    found: list[T] = []
    # Shielded: a call that was cancelled before its thread began would count unwritten bytes.
    with disk.translated(), anyio.CancelScope(shield=True):
        found.append(await to_thread.run_sync(function, *arguments))
    return found[0]
