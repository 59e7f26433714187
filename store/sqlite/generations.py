"""The read model's SQLite files: each file is a generation, and ``current`` names the live one.

| path in the folder | what |
|---|---|
| ``<generation>.sqlite`` | a read model, folded from the log by one projector |
| ``<generation>.sqlite-doubted`` | a reader found it damaged; its projector will check it |
| ``<generation>.sqlite-building`` | locked by the process that builds it, while it runs; its form |
| ``current`` | the name of the generation that readers use; replaced in one step |
| ``previous`` | the name of the one that was replaced last, if it can be made live again |
| ``kept/`` | what the log may have lost, see ``store.sqlite.kept`` |

One process writes a generation, while any number of threads and processes read it (WAL).
"""

import fcntl
import logging
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from errno import ELOOP, ENXIO
from pathlib import Path
from stat import S_ISREG

from store.blobs.disk import make_folder, sync_folder
from store.errors import Missing
from store.sqlite.connection import translated
from store.sqlite.kept import MOST_KEPT, NAME, KeptFiles, files_of, remove

logger = logging.getLogger("photolog.store")

BUILDING = "-building"

_LONGEST_NAME = 64
"""How many bytes of ``current`` are read."""

_NO_FILE = (ELOOP, ENXIO)
"""Errors of opening a chain of links without an end, or a socket."""

LONGEST_FORM = 200
"""How many bytes of the form of a half-built generation are compared."""


class Generations(KeptFiles):
    """The files of one read model folder, with at most ``most_kept`` replaced generations.

    Methods raise Full or Unavailable if the files cannot be used.
    """

    def __init__(self, folder: Path, most_kept: int = MOST_KEPT) -> None:
        super().__init__(folder, most_kept)
        self.folder = folder
        self._pointer = folder / "current"
        self._previous = folder / "previous"
        self._ignored: bytes | None = None

    @translated()
    def current(self) -> Path | None:
        """Return the path of the live generation, if there is one.

        A pointer that is not a file, or does not hold the name of a generation, counts as missing;
        so does a generation that is not a file.
        """
        path = self._named(self._pointer)
        while path is not None and not path.is_file():
            named = self._named(self._pointer)
            if named == path:
                return None
            path = named  # a switch came in between
        return path

    @translated()
    def previous(self) -> Path | None:
        """Return the generation that ``swap`` would make live, if there is one."""
        path = self._named(self._previous)
        return path if path not in (None, self.current()) and path.is_file() else None

    def _named(self, pointer: Path) -> Path | None:
        try:
            # Do not wait for a writer if this is a pipe.
            handle = os.open(pointer, os.O_RDONLY | os.O_NONBLOCK)
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
        if NAME.fullmatch(name):
            return self.folder / name.decode()
        return self._ignore(name)

    def _ignore(self, found: bytes) -> None:
        """Log once that this is not a pointer."""
        if found != self._ignored:
            logger.warning("%s does not name a generation: %r is ignored", self._pointer, found)
            self._ignored = found

    @translated()
    def new(self) -> Path:
        """Return the path for a new generation, which nobody reads yet."""
        make_folder(self.folder)
        return self.folder / f"{uuid.uuid4().hex[:12]}.sqlite"

    @contextmanager
    def building(self, form: str = "") -> Generator[Path]:
        """Yield a path, protected from ``sweep`` during the block while this process runs.

        A file that a process left half-built in the same ``form`` is yielded again; without a form,
        the path is always new. If the block leaves its file where it is and does not make it live,
        the file counts as half-built.
        """
        path, lock = self._left(form) or self._mark(form)
        try:
            yield path
        finally:
            if not path.exists() or path == self.current():
                _building(path).unlink(missing_ok=True)
            os.close(lock)

    @contextmanager
    def scratch(self) -> Generator[Path]:
        """Yield a path for a file that is removed after the block, or by ``sweep`` after a kill."""
        with self.building() as path:
            try:
                yield path
            finally:
                remove(path)

    @translated()
    def _mark(self, form: str) -> tuple[Path, int]:
        while True:
            path = self.new()
            lock = os.open(_building(path), os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.write(lock, form.encode())
            if _building(path).exists():
                return path, lock
            os.close(lock)  # a sweep removed the mark before it was locked

    @translated()
    def _left(self, form: str) -> tuple[Path, int] | None:
        """Lock the mark of the newest file that was left in this form, if there is one."""
        for mark in self._marks() if form else ():
            lock = _locked(mark)
            if lock is None:
                continue
            if os.read(lock, LONGEST_FORM) == form.encode() and mark.exists():
                return _of_mark(mark), lock
            os.close(lock)
        return None

    def _marks(self) -> list[Path]:
        """Return the marks of files that are or were being built, the newest first."""
        found: list[tuple[int, Path]] = []
        for mark in self.folder.glob(f"*.sqlite{BUILDING}"):
            with suppress(FileNotFoundError):
                found.append((mark.stat().st_mtime_ns, mark))
        return [mark for _, mark in sorted(found, reverse=True)]

    @translated()
    def sweep(self, form: str = "") -> list[Path]:
        """Remove generations left half-built by dead processes, and return them.

        The newest of this ``form`` stays, for the next ``building``.
        """
        swept: list[Path] = []
        for mark in self._marks():
            lock = _locked(mark)
            if lock is None:
                continue
            try:
                path = _of_mark(mark)
                if path == self.current():  # the process died after the switch
                    mark.unlink(missing_ok=True)
                elif form and os.read(lock, LONGEST_FORM) == form.encode():
                    form = ""
                else:
                    remove(path)
                    swept.append(path)
                    mark.unlink(missing_ok=True)
            finally:
                os.close(lock)
        return swept

    @translated()
    def switch(self, path: Path, *, retain: bool = False, needed: bool = False) -> Path | None:
        """Make ``path`` the live generation, durably. Open readers keep their file.

        With ``retain``, the one that was live becomes the previous one, see ``swap``. A former
        previous one is removed.

        Keeps the replaced generation and returns its path: unless it is ``needed``, call
        ``examined`` then. Returns None if there was none, or if ``most_kept`` are kept already:
        those stay, because the oldest is the closest to what the log once held. Removes the others.
        """
        live = self.current() or self._unnamed(path)
        kept = None if live in (None, path) else self._keep(live, needed=needed)
        replaced = self.current() if retain else None
        self._point(self._pointer, path)
        if replaced is None or replaced == path:
            self._previous.unlink(missing_ok=True)
        else:
            self._point(self._previous, replaced)
        spared = tuple(each.name for each in (path, replaced) if each is not None)
        for other in self.folder.glob("*.sqlite*"):
            if not other.name.startswith(spared):
                _make_way(other)
                other.unlink(missing_ok=True)
        return kept

    @translated()
    def swap(self, previous: Path) -> None:
        """Make the ``previous`` generation the live one, durably, and the live one the previous.

        Raises:
            Missing: there is no previous one, or it is another one by now.
        """
        live = self.current()
        if self.previous() != previous:
            raise Missing(
                f"the generation {previous.name} is not the previous one any more: a rebuild or a "
                "rollback was faster. `photolog projections list` names the one that is live"
            )
        self._point(self._pointer, previous)
        if live is not None:
            self._point(self._previous, live)

    @translated()
    def finish_swap(self) -> bool:
        """Finish a swap that was killed when it had made the previous generation live.

        Return False if there was none.
        """
        live = self.current()
        if live is None or self._named(self._previous) != live:
            return False
        if (replaced := self._unnamed(live)) is not None:
            self._point(self._previous, replaced)
        return replaced is not None

    @translated()
    def drop_previous(self) -> Path | None:
        """Remove the previous generation and return its path; None if there was none."""
        previous = self.previous()
        self._previous.unlink(missing_ok=True)
        if previous is not None:
            remove(previous)
        return previous

    def _point(self, pointer: Path, path: Path) -> None:
        """Let the pointer name the generation, in one durable step."""
        draft = pointer.with_name(f"{pointer.name}.new")
        _make_way(draft)
        draft.unlink(missing_ok=True)
        with draft.open("wb") as file:
            file.write(path.name.encode())
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.folder)  # the generation is durable before anything names it
        _make_way(pointer)
        draft.replace(pointer)
        sync_folder(self.folder)  # and is named before the others are removed

    def _unnamed(self, successor: Path) -> Path | None:
        """Return the newest finished generation, for when the pointer to it was lost."""
        finished = [
            path
            for path in self.folder.glob("*.sqlite")
            if path != successor and path.is_file() and not _building(path).exists()
        ]
        return max(finished, key=lambda path: path.stat().st_mtime_ns, default=None)

    def doubt(self, path: Path) -> None:
        """Mark the generation as damaged, if the mark can be written."""
        with suppress(OSError):
            _doubt(path).touch()

    @translated()
    def is_doubted(self, path: Path) -> bool:
        return _doubt(path).exists()

    @translated()
    def trust(self, path: Path) -> None:
        """Remove the mark of ``doubt``."""
        _doubt(path).unlink(missing_ok=True)


@translated(FileNotFoundError)
def inodes(path: Path) -> tuple[int, int, int]:
    """Return the inodes of an open generation: the file, its WAL and the WAL's index.

    They stay while a connection is open. A reader that opens the generation after one of them was
    replaced does not see that connection's commits.

    Raises:
        FileNotFoundError: one of them is gone.
    """
    main, wal, index = (file.stat().st_ino for file in files_of(path))
    return main, wal, index


def _make_way(path: Path) -> None:
    """Rename a folder that is in the way of a file, with its contents."""
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f"{path.name.partition('.')[0]}-set-aside-{uuid.uuid4().hex[:12]}")
        path.rename(aside)
        logger.warning("%s was a folder in place of a file: renamed it to %s", path, aside)


def _doubt(path: Path) -> Path:
    return path.with_name(f"{path.name}-doubted")


def _building(path: Path) -> Path:
    return path.with_name(path.name + BUILDING)


def _of_mark(mark: Path) -> Path:
    return mark.with_name(mark.name.removesuffix(BUILDING))


def _locked(mark: Path) -> int | None:
    """Open the mark with its lock; None if it is gone, or its process runs."""
    try:
        lock = os.open(mark, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
