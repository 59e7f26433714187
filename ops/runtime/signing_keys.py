"""Keys that sign tokens: in the file ``secret`` of the data folder, or in the settings.

The first line of the file is the secret that signs. Each further line is an earlier secret that
still verifies, a space, and the time at which it expires. Processes that use the file look at it
each time they need a key, so that a token of a new key is valid at once. If PHOTOLOG_SECRET is set
it signs instead, and PHOTOLOG_PREVIOUS_SECRET verifies until it is unset.
"""

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gateway.http.auth import LEEWAY_S, MIN_SECRET_BYTES, Key
from ops.config.settings import Settings
from ops.errors import UserError
from store.blobs.disk import make_folder, sync_folder

logger = logging.getLogger("photolog")

SECRET_FILE = "secret"  # noqa: S105 # its name
MAX_KEYS = 100
"""Keys in a file; a token that names no key is checked against each of them."""


class KeyFile:
    """Return the current keys of a file; if it becomes unreadable, the last keys stay in use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys = read(path)
        self._seen = _state(path)

    def __call__(self) -> tuple[Key, ...]:
        seen = _state(self._path)
        if seen != self._seen:
            self._seen = seen
            self._reload()
        return self._keys

    def _reload(self) -> None:
        try:
            self._keys = read(self._path)
            logger.warning("reloaded the signing keys: key %s signs now", self._keys[0].id)
        except (OSError, ValueError) as error:
            logger.warning(
                "cannot reload the signing keys from %s, so the last ones stay in use: %s",
                *(self._path, error),
            )


def keys_in(settings: Settings) -> tuple[Key, ...]:
    """Return the keys of the settings: none if the file in the data folder holds them."""
    found = (settings.secret, settings.previous_secret)
    return tuple(Key(secret.encode()) for secret in found if secret is not None)


def read(path: Path) -> tuple[Key, ...]:
    """Return the keys of the file; the first one signs.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file holds something else.
    """
    signing, *earlier = path.read_bytes().strip().splitlines() or [b""]
    keys = [Key(signing.strip())]
    for line in earlier:
        secret, _, until = line.strip().rpartition(b" ")
        keys.append(Key(secret, datetime.fromisoformat(until.decode()).timestamp()))
    if any(len(key.secret) < MIN_SECRET_BYTES for key in keys):
        raise ValueError(f"a secret that signs tokens needs at least {MIN_SECRET_BYTES} bytes")
    return tuple(keys)


def create(path: Path) -> None:
    """Generate a first key, unless the file exists; concurrent processes all get the same key.

    The key is durable on return, so no token is signed with a key that a power cut removes.
    """
    make_folder(path.parent, 0o700)
    if not path.exists():
        draft = _write_draft(path, _generate())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    sync_folder(path.parent)


def rotate(path: Path, overlap_s: float, *, retired: str | None = None) -> tuple[Key, ...]:
    """Generate a new key that signs, and return all keys that are valid now.

    The earlier keys verify for at most ``overlap_s`` more seconds; the one with the id ``retired``
    expires immediately.

    Raises:
        UserError: no key has that id, or there are too many keys.
        OSError: the file cannot be read or written.
        ValueError: the file holds something other than keys.
    """
    with _locked(path.parent):
        now = time.time()
        found = read(path)
        if retired is not None and retired not in {key.id for key in found}:
            raise UserError(f"no key has the id {retired!r}: `photolog tokens keys` lists the keys")
        until = float(int(now + overlap_s + LEEWAY_S))
        earlier = [
            Key(key.secret, min(key.until, until))
            for key in found
            if key.until > now and key.id != retired
        ]
        if len(earlier) >= MAX_KEYS:
            raise UserError(f"{len(earlier)} keys still verify tokens: retire one with --retire")
        keys = (Key(_generate()), *earlier)
        lines = [keys[0].secret, *(b"%b %b" % (key.secret, _iso(key.until)) for key in earlier)]
        _write_draft(path, b"\n".join(lines)).replace(path)
        sync_folder(path.parent)
        return keys


def key_path(settings: Settings) -> Path:
    return settings.folder / SECRET_FILE


def _generate() -> bytes:
    return secrets.token_urlsafe(32).encode()


def _iso(moment: float) -> bytes:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").encode()


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _write_draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    # A draft left by a crashed process with this id may be a second link to the secret itself.
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
    except OSError:
        draft.unlink()
        raise
    return draft


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Let only one process change the file at a time."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
