"""SQLite files of the read model: one file is one generation, ``current`` names the live one.

| path in the folder | what |
|---|---|
| ``<generation>.sqlite`` | a read model, folded from the log by one projector |
| ``<generation>.sqlite-doubted`` | a reader found it damaged; its projector is to look into it |
| ``<generation>.sqlite-building`` | locked by the process that builds it, while that lives |
| ``current`` | the name of the generation that readers use; replaced in one step |
| ``kept/<generation>.sqlite`` | one that was replaced, and may say what the log no longer says |
| ``kept/partition-07-<ms>-<seq>.sqlite`` | events that the log no longer has in one partition |

One process writes a generation; any number of threads and processes read it meanwhile (WAL).
"""

import fcntl
import logging
import os
import re
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from errno import ELOOP, ENXIO
from pathlib import Path
from stat import S_ISREG

from store.blobs.disk import make_folder, sync_folder
from store.sqlite.connection import translated

logger = logging.getLogger("photolog.store")

BUILDING = "-building"

_NAME = re.compile(rb"[0-9a-f]{12}\.sqlite")
"""What ``current`` may say. Nothing else in it counts, least of all a path."""

_LONGEST_NAME = 64
"""So many bytes of ``current`` are read."""

_NO_FILE = (ELOOP, ENXIO)
"""How a chain of links that leads nowhere, and a socket, refuse to be opened."""

MOST_KEPT = 2
"""Replaced generations of a log that has changed, see ``Generations.switch``."""


class Generations:
    """The files of one read model folder. At most ``most_kept`` replaced generations are kept.

    Raises Full or Unavailable where they cannot be used.
    """

    def __init__(self, folder: Path, most_kept: int = MOST_KEPT) -> None:
        self.folder = folder
        self.most_kept = most_kept
        self._pointer = folder / "current"
        self._kept = folder / "kept"
        self._ignored: bytes | None = None

    @translated()
    def current(self) -> Path | None:
        """The live generation, if there is one.

        A pointer that is no file, is empty, or does not hold the name of a generation counts as
        missing; so does a generation that is no file.
        """
        path = self._named()
        while path is not None and not path.is_file():
            named = self._named()
            if named == path:
                return None
            path = named  # a switch came between the two looks
        return path

    def _named(self) -> Path | None:
        try:
            # Without waiting for a writer, if this is a pipe.
            handle = os.open(self._pointer, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            return self._ignore(b"no file")
        try:
            if not S_ISREG(os.fstat(handle).st_mode):
                return self._ignore(b"no file")
            name = os.read(handle, _LONGEST_NAME).strip()
        finally:
            os.close(handle)
        if _NAME.fullmatch(name):
            return self.folder / name.decode()
        return self._ignore(name)

    def _ignore(self, found: bytes) -> None:
        """Say once that this is no pointer."""
        if found != self._ignored:
            logger.warning("%s does not name a generation: %r is ignored", self._pointer, found)
            self._ignored = found

    @translated()
    def new(self) -> Path:
        """The path of a generation that no one reads yet."""
        make_folder(self.folder)
        return self.folder / f"{uuid.uuid4().hex[:12]}.sqlite"

    @contextmanager
    def building(self) -> Generator[Path]:
        """A new path, kept from ``sweep`` for the time of the block and of this process."""
        path, lock = self._mark()
        try:
            yield path
        finally:
            _building(path).unlink(missing_ok=True)
            os.close(lock)

    @translated()
    def _mark(self) -> tuple[Path, int]:
        while True:
            path = self.new()
            lock = os.open(_building(path), os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _building(path).exists():
                return path, lock
            os.close(lock)  # a sweep came between: it found a mark that nobody had locked yet

    @translated()
    def sweep(self) -> list[Path]:
        """Remove what processes that have died left half built; what that was."""
        swept: list[Path] = []
        for mark in self.folder.glob(f"*.sqlite{BUILDING}"):
            with suppress(FileNotFoundError, BlockingIOError):  # done, or being built
                lock = os.open(mark, os.O_RDWR)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path = mark.with_name(mark.name.removesuffix(BUILDING))
                    if path != self.current():  # it died after the switch otherwise
                        remove(path)
                        swept.append(path)
                    mark.unlink(missing_ok=True)
                finally:
                    os.close(lock)
        return swept

    @translated()
    def kept(self) -> list[Path]:
        """Return the generations that were replaced and kept, the oldest first."""
        return [path for path in self.all_kept() if _NAME.fullmatch(path.name.encode())]

    @translated()
    def kept_of(self, partition: int) -> list[Path]:
        """Return the files with events that the partition has lost, the oldest first."""
        return [path for path in self.all_kept() if path.name.startswith(_lost_in(partition))]

    @translated()
    def keep_of(self, partition: int, name: str, file: Path) -> Path | None:
        """Move a closed and synced ``file`` with lost events of the partition to where it is kept.

        If ``most_kept`` of the partition are kept already, those stay and this returns None.
        """
        if len(self.kept_of(partition)) >= self.most_kept:
            return None
        make_folder(self._kept, 0o700)
        kept = self._kept / f"{_lost_in(partition)}{name}.sqlite"
        file.replace(kept)
        sync_folder(self._kept)
        return kept

    @translated()
    def all_kept(self) -> list[Path]:
        """Return every file that is kept, the oldest first."""
        return sorted(self._kept.glob("*.sqlite"), key=lambda path: path.stat().st_mtime_ns)

    @translated()
    def switch(self, path: Path) -> Path | None:
        """Make ``path`` the live generation, durably. Open readers keep their file.

        Keeps the generation that was live, and returns where: ``remove`` it if it is not needed.
        If ``most_kept`` are kept already, those stay, because the oldest one is the nearest to
        what the log once said: then, or if there was none, returns None. Removes the others.
        """
        kept = self._keep(path)
        draft = self.folder / "current.new"
        _make_way(draft)
        draft.unlink(missing_ok=True)
        with draft.open("wb") as file:
            file.write(path.name.encode())
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.folder)  # the generation is there before anything names it
        _make_way(self._pointer)
        draft.replace(self._pointer)
        sync_folder(self.folder)  # and is named before the others go
        for other in self.folder.glob("*.sqlite*"):
            if not other.name.startswith(path.name):
                _make_way(other)
                other.unlink(missing_ok=True)
        return kept

    def _keep(self, successor: Path) -> Path | None:
        """Link the live generation, before anything that it needs could be removed."""
        live = self.current() or self._unnamed(successor)
        if live is None or live == successor or live.stat().st_size == 0:
            return None
        if len(self.kept()) >= self.most_kept:
            return None
        make_folder(self._kept, 0o700)
        kept = self._kept / live.name
        for suffix in ("-wal", ""):  # whoever finds the file finds its WAL
            with suppress(FileNotFoundError):
                os.link(live.with_name(live.name + suffix), f"{kept}{suffix}")
        sync_folder(self._kept)
        return kept

    def _unnamed(self, successor: Path) -> Path | None:
        """Return the newest finished generation: the pointer to it was lost."""
        finished = [
            path
            for path in self.folder.glob("*.sqlite")
            if path != successor and path.is_file() and not _building(path).exists()
        ]
        return max(finished, key=lambda path: path.stat().st_mtime_ns, default=None)

    def doubt(self, path: Path) -> None:
        """Say that the generation was found damaged; where that cannot be written, it is not."""
        with suppress(OSError):
            _doubt(path).touch()

    @translated()
    def is_doubted(self, path: Path) -> bool:
        return _doubt(path).exists()

    @translated()
    def trust(self, path: Path) -> None:
        """Take back the doubt."""
        _doubt(path).unlink(missing_ok=True)


@translated()
def remove(path: Path) -> None:
    """Delete a generation with its WAL files."""
    for file in _files(path):
        file.unlink(missing_ok=True)


@translated(FileNotFoundError)
def inodes(path: Path) -> tuple[int, int, int]:
    """Those of an open generation: the file, its WAL and the WAL's index.

    While a connection is open they stay. Whoever opens the generation after one of them was
    replaced sees none of what that connection commits.

    Raises:
        FileNotFoundError: one of them is gone.
    """
    main, wal, index = (file.stat().st_ino for file in _files(path))
    return main, wal, index


def _make_way(path: Path) -> None:
    """Rename what is there if it is a folder, with all that it holds: a file needs its name."""
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f"{path.name.partition('.')[0]}-set-aside-{uuid.uuid4().hex[:12]}")
        path.rename(aside)
        logger.warning("%s is a folder where a file belongs: it is %s now", path, aside)


def _doubt(path: Path) -> Path:
    return path.with_name(f"{path.name}-doubted")


def _lost_in(partition: int) -> str:
    return f"partition-{partition:02d}-"


def _building(path: Path) -> Path:
    return path.with_name(path.name + BUILDING)


def _files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
