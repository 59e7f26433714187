"""Remember the SHA-256 of files, and the photos that they became.

One SQLite file, in the state folder of the user. It only saves work: whether a photo is on the
server is what the server says. Deleting the ledger loses no photo; but a photo that was imported
and then deleted on the server would be imported again.
"""

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from ops.errors import UserError

SCHEMA = """
DROP TABLE IF EXISTS imported; -- of earlier versions, which trusted it without asking the server

CREATE TABLE IF NOT EXISTS hashes (
    path BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS photos (
    server TEXT NOT NULL,
    client TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    photo_id TEXT NOT NULL,
    PRIMARY KEY (server, client, sha256)
) STRICT, WITHOUT ROWID;
"""
BUSY_TIMEOUT_S = 10.0


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it was found: its size in bytes, and when it was changed, in ns since 1970."""

    path: Path
    size: int
    changed_ns: int


class Ledger:
    """The files that were imported from this machine to one server, as one client."""

    def __init__(self, db: sqlite3.Connection, server: str, client: str) -> None:
        self._db = db
        self._key = (server, client)

    def sha256_of(self, file: File) -> str | None:
        """Return the SHA-256 of the file, in hex, if it was hashed in this state."""
        row: tuple[int, int, str] | None = self._db.execute(
            "SELECT size, changed_ns, sha256 FROM hashes WHERE path = ?", (os.fsencode(file.path),)
        ).fetchone()
        return row[2] if row is not None and row[:2] == (file.size, file.changed_ns) else None

    def note_hash(self, file: File, sha256: str) -> None:
        """Record the SHA-256 of the file in this state."""
        row = (os.fsencode(file.path), file.size, file.changed_ns, sha256)
        self._db.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)", row)

    def photo_of(self, sha256: str) -> str | None:
        """Return the photo that these bytes became, whether or not the server still has it."""
        row: tuple[str] | None = self._db.execute(
            "SELECT photo_id FROM photos WHERE server = ? AND client = ? AND sha256 = ?",
            (*self._key, sha256),
        ).fetchone()
        return None if row is None else row[0]

    def note_photo(self, sha256: str, photo_id: str) -> None:
        """Record the photo that these bytes became."""
        row = (*self._key, sha256, photo_id)
        self._db.execute("INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?)", row)


def default_path() -> Path:
    """Return where the ledger is: in ``$XDG_STATE_HOME``, or else in ``~/.local/state``."""
    state = os.environ.get("XDG_STATE_HOME")
    folder = Path(state) if state else Path.home() / ".local" / "state"
    return folder / "photolog" / "imports.sqlite"


@contextmanager
def opened(path: Path, server: str, client: str) -> Generator[Ledger]:
    """Open the ledger for imports to ``server`` as ``client``; each note is durable at once.

    Raises:
        UserError: the file cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        with closing(
            sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        ) as connection:
            connection.executescript(SCHEMA)
            yield Ledger(connection, server, client)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> UserError:
    return UserError(f"the ledger {path} cannot be used: {error}. Name another with --ledger")
