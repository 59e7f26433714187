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
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
import apsw
from anyio import to_thread

from store.disk import make_folder, sync_folder
from store.errors import Corrupt, Full, Unavailable

logger = logging.getLogger("photolog.store")

P = ParamSpec("P")
T = TypeVar("T")

Value = int | float | str | bytes | None
Row = tuple[Any, ...]

READERS = 4
BUSY_TIMEOUT_MS = 5_000

BUILDING = "-building"

_NAME = re.compile(rb"[0-9a-f]{12}\.sqlite")
"""What ``current`` may say. Nothing else in it counts, least of all a path."""

_LONGEST_NAME = 64
"""So many bytes of ``current`` are read."""

_AWAY = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.CantOpenError,
    apsw.IOError,
    apsw.InterruptError,
    apsw.NoMemError,
    apsw.PermissionsError,
    apsw.ReadOnlyError,
    apsw.ProtocolError,
)
"""What the machine, the disk or another process is to blame for; all else is a bug."""

PROGRESS_STEPS = 10_000
"""Some milliseconds of SQLite's work."""


@contextmanager
def translated(*passing: type[OSError]) -> Generator[None]:
    """Turn the errors of SQLite and of its files into ours, but for those that are ``passing``.

    Raises:
        Full: the disk is full.
        Corrupt: the file is damaged.
        Unavailable: the file cannot be opened or read now, as for want of descriptors.
    """
    try:
        yield
    except passing:
        raise
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise Full("the disk of the read model is full") from error
        raise Unavailable(f"the read model could not be used: {error.strerror}") from error
    except apsw.FullError as error:
        raise Full("the disk of the read model is full") from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise Corrupt(f"the read model is damaged: {error}") from error
    except apsw.SQLError as error:
        if not str(error).startswith("no such table"):
            raise
        raise Corrupt(f"the read model is not whole: {error}") from error
    except _AWAY as error:
        raise Unavailable(f"the read model could not be used: {error}") from error


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

        A pointer that is empty or does not hold the name of a generation counts as missing.
        """
        path = self._named()
        while path is not None and not path.exists():
            named = self._named()
            if named == path:
                return None
            path = named  # a switch came between the two looks
        return path

    def _named(self) -> Path | None:
        try:
            with self._pointer.open("rb") as file:
                name = file.read(_LONGEST_NAME).strip()
        except FileNotFoundError:
            return None
        if _NAME.fullmatch(name):
            return self.folder / name.decode()
        if name != self._ignored:
            logger.warning("%s does not name a generation: %r is ignored", self._pointer, name)
            self._ignored = name
        return None

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
        with draft.open("wb") as file:
            file.write(path.name.encode())
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.folder)  # the generation is there before anything names it
        draft.replace(self._pointer)
        sync_folder(self.folder)  # and is named before the others go
        for other in self.folder.glob("*.sqlite*"):
            if not other.name.startswith(path.name):
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
            if path != successor and not _building(path).exists()
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


class Connection:
    """One connection to ``path``, for one thread at a time. Raises Full, Corrupt or Unavailable."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        flags = (
            apsw.SQLITE_OPEN_READONLY
            if read_only
            else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        )
        with translated():
            self._raw: Any = apsw.Connection(str(path), flags=flags)
        self._raw.set_busy_timeout(BUSY_TIMEOUT_MS)

    def execute(self, sql: str, values: Sequence[Value] | Mapping[str, Value] = ()) -> list[Row]:
        """Run the statements and return all rows: bound them by LIMIT."""
        with translated():
            return self._raw.execute(sql, values).fetchall()

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        with translated():
            self._raw.executemany(sql, rows)

    @contextmanager
    def transaction(self, *, write: bool = True) -> Generator[None]:
        """All or nothing; reads within see one state of the file."""
        self.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield
        except BaseException:
            if self._raw.in_transaction:  # a full disk has rolled back already
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def data_version(self) -> int:
        """A number that differs whenever another connection has committed in between."""
        with translated():
            return self._raw.pragma("data_version")

    def break_off_when(self, over: Callable[[], bool]) -> None:
        """Let a statement end with Unavailable as soon as ``over``; it is asked now and then."""
        self._raw.set_progress_handler(over, PROGRESS_STEPS)

    def close(self) -> None:
        self._raw.close()


def library_version() -> str:
    """Return the version of SQLite in this process."""
    return apsw.sqlite_lib_version()


def open_writer(path: Path) -> Connection:
    """A connection that may write; its commits survive a crash of the process.

    A crash of the machine may take back the last commits, never half of one; the checkpoint goes
    back with them, so the log makes them good.
    """
    connection = Connection(path, read_only=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def open_reader(path: Path) -> Connection:
    return Connection(path, read_only=True)


class Reader:
    """Runs queries in threads against the live generation, and follows it when it changes."""

    def __init__(self, generations: Generations, readers: int = READERS) -> None:
        self._generations = generations
        self._limiter = anyio.CapacityLimiter(readers)
        self._idle: list[tuple[Path, int, Connection]] = []
        self._lock = threading.Lock()

    async def query(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """``function(connection, …)`` on a connection of its own, in one read transaction.

        Raises:
            Unavailable: there is no read model yet, or it is damaged; its projector is told so, and
                folds it anew.
        """

        def run() -> T:
            path, inode, connection = self._take()
            try:
                with connection.transaction(write=False):
                    result = function(connection, *args, **kwargs)
            except Corrupt as error:
                connection.close()
                self._generations.doubt(path)
                raise Unavailable(str(error)) from error
            except BaseException:
                self._put_back(path, inode, connection)
                raise
            self._put_back(path, inode, connection)
            return result

        return await to_thread.run_sync(run, limiter=self._limiter)

    async def check(self, timeout_s: float) -> None:
        """SQLite's quick check of the live generation, on a connection beside those of the queries.

        Raises:
            Unavailable: there is no read model yet, or ``timeout_s`` did not suffice.
            Corrupt: the file is damaged.
        """
        path = self._live()
        until = time.monotonic() + timeout_s
        given_up = threading.Event()

        def run() -> None:
            connection = open_reader(path)
            try:
                connection.break_off_when(lambda: given_up.is_set() or time.monotonic() > until)
                found = connection.execute("PRAGMA quick_check(1)")
            finally:
                connection.close()
            if found != [("ok",)]:
                raise Corrupt(f"the read model is damaged: {found[0][0]}")

        try:
            await to_thread.run_sync(run)
        finally:
            given_up.set()

    def close(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop()[2].close()

    def _put_back(self, path: Path, inode: int, connection: Connection) -> None:
        with self._lock:
            self._idle.append((path, inode, connection))

    def _take(self) -> tuple[Path, int, Connection]:
        path, inode = self._live_inode()
        with self._lock:
            while self._idle:
                known, known_inode, connection = self._idle.pop()
                if (known, known_inode) == (path, inode):
                    return path, inode, connection
                connection.close()
        return path, inode, open_reader(path)

    def _live_inode(self) -> tuple[Path, int]:
        while True:
            path = self._live()
            with suppress(FileNotFoundError), translated(FileNotFoundError):
                return path, path.stat().st_ino  # unless a switch came between the two looks

    def _live(self) -> Path:
        path = self._generations.current()
        if path is None:
            raise Unavailable("there is no read model yet: is the projector running?")
        return path


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


def _doubt(path: Path) -> Path:
    return path.with_name(f"{path.name}-doubted")


def _lost_in(partition: int) -> str:
    return f"partition-{partition:02d}-"


def _building(path: Path) -> Path:
    return path.with_name(path.name + BUILDING)


def _files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
