"""Connections to SQLite files, and the translation of SQLite's errors."""

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import apsw

from store.errors import Corrupt, Full, Unavailable

logger = logging.getLogger("photolog.store")

P = ParamSpec("P")
T = TypeVar("T")

Value = int | float | str | bytes | None
Row = tuple[Any, ...]

BUSY_TIMEOUT_MS = 5_000

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
"""Errors caused by the machine, the disk or another process; any other one is a bug."""

_LACKING = (
    "no such column",
    "no such index",
    "cannot join using column",
    "ambiguous column name",
)
"""How SQLite's messages begin about a statement that was written for other columns and indexes."""

PROGRESS_STEPS = 10_000
"""Steps of SQLite's virtual machine between checks: a few milliseconds."""


class Incomplete(Corrupt):
    """The file lacks a table."""


@contextmanager
def lacking() -> Generator[None]:
    """Run statements on a file that another version has written.

    Raises:
        Unavailable: it lacks a table, column or index that they need.
    """
    try:
        yield
    except (Incomplete, apsw.SQLError) as error:
        if not isinstance(error, Incomplete) and not str(error).startswith(_LACKING):
            raise
        raise Unavailable(f"the read model was written by another version: {error}") from error


@contextmanager
def translated(*passing: type[OSError]) -> Generator[None]:
    """Translate the errors of SQLite and of its files into StoreErrors, except ``passing`` ones.

    Raises:
        Full: the disk is full.
        Corrupt: the file is damaged.
        Unavailable: the file cannot be opened or read now, for example without free descriptors.
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
        raise Incomplete(f"the read model is incomplete: {error}") from error
    except _AWAY as error:
        # No room for the index of the write-ahead log.
        if getattr(error, "extendedresult", None) == apsw.SQLITE_IOERR_SHMSIZE:
            raise Full("the disk of the read model is full") from error
        raise Unavailable(f"the read model could not be used: {error}") from error


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
        """Run the statements and return all rows; limit their number with LIMIT."""
        with translated():
            return self._raw.execute(sql, values).fetchall()

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value] | Mapping[str, Value]]) -> None:
        with translated():
            self._raw.executemany(sql, rows)

    @contextmanager
    def transaction(self, *, write: bool = True) -> Generator[None]:
        """Commit the block, or roll all of it back; its reads see one state of the file."""
        self.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield
        except BaseException:
            if self._raw.in_transaction:  # after a full disk SQLite has rolled back already
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def break_off_when(self, over: Callable[[], bool]) -> None:
        """Abort statements with Unavailable once ``over()`` is true; it is called regularly."""
        self._raw.set_progress_handler(over, PROGRESS_STEPS)

    def close(self) -> None:
        self._raw.close()


def library_version() -> str:
    """Return the version of SQLite in this process."""
    return apsw.sqlite_lib_version()


def open_writer(path: Path) -> Connection:
    """Open a connection that may write; its commits survive a crash of the process.

    A crash of the machine may lose the last commits, but never a part of one. The checkpoint is
    lost with them, so they are folded from the log again.
    """
    connection = Connection(path, read_only=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def open_reader(path: Path) -> Connection:
    return Connection(path, read_only=True)
