"""Runs queries against the live generation, in threads."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import anyio
from anyio import to_thread

from store.errors import Corrupt, Full, Unavailable
from store.sqlite.connection import Connection, lacking, open_reader, translated
from store.sqlite.generations import Generations

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4

Unreadable = Callable[[Connection], str | None]


def _readable(_: Connection) -> None:
    """Let every generation be read."""


class Reader:
    """Runs queries in threads against the live generation, and follows a switch to another.

    ``form`` is the ``user_version`` of generations that this code writes. Another version may have
    written the live one; ``unreadable`` says why this code cannot read it at all. Queries wait for
    its successor if it lacks what they need.
    """

    def __init__(
        self,
        generations: Generations,
        readers: int = READERS,
        form: int | None = None,
        unreadable: Unreadable = _readable,
    ) -> None:
        self._generations = generations
        self._form = form
        self._unreadable = unreadable
        self._limiter = anyio.CapacityLimiter(readers)
        self._idle: list[tuple[Path, int, Connection]] = []
        self._lock = threading.Lock()

    async def query(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(connection, …)`` on its own connection, in one read transaction.

        Raises:
            Unavailable: there is no read model yet, or another version has written it without what
                the query needs, or its disk has no room for a reader, or it is damaged; a damaged
                one is marked, and its projector rebuilds it.
        """

        def run() -> T:
            path, inode, connection = self._take()
            try:
                with connection.transaction(write=False), self._as_written(connection):
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

        try:
            return await to_thread.run_sync(run, limiter=self._limiter)
        except Full as error:  # readers, too, need room: for the index of the write-ahead log
            raise Unavailable(str(error)) from error

    async def check(self, timeout_s: float) -> None:
        """Run SQLite's quick check of the live generation, on a separate connection.

        Raises:
            Unavailable: there is no read model yet, or the check took longer than ``timeout_s``.
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

    def _as_written(self, connection: Connection) -> AbstractContextManager[None]:
        """Return a context for queries of a file of this or another version; see ``query``."""
        if self._form is None or connection.execute("PRAGMA user_version") == [(self._form,)]:
            return nullcontext()
        reason = self._unreadable(connection)
        if reason is not None:
            raise Unavailable(
                f"the read model was written by another version, and {reason}: its projector folds "
                "it again"
            )
        return lacking()

    def _live_inode(self) -> tuple[Path, int]:
        while True:
            path = self._live()
            with suppress(FileNotFoundError), translated(FileNotFoundError):
                return path, path.stat().st_ino  # fails if a switch came in between

    def _live(self) -> Path:
        path = self._generations.current()
        if path is None:
            raise Unavailable("there is no read model yet: is the projector running?")
        return path
