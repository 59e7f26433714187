"""The keys that sign tokens: in the file ``secret`` of the data folder, or in the settings.

The first line of the file is the secret that signs. Each further line is an earlier one that still
verifies, a space, and until when. Processes that use the file notice within ``LOOK_S`` when it
changes. Where PHOTOLOG_SECRET is set it signs instead, and PHOTOLOG_PREVIOUS_SECRET verifies until
it is unset.
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
LOOK_S = 1.0
MOST_KEYS = 100
"""Keys of a file; each costs a try for a token that names none."""


class KeyFile:
    """The keys of a file, as it is now. A file that cannot be read any more keeps its last keys."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys = read(path)
        self._seen = _state(path)
        self._look_at = time.monotonic() + LOOK_S

    def __call__(self) -> tuple[Key, ...]:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_S
            self._look()
        return self._keys

    def _look(self) -> None:
        seen = _state(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = read(self._path)
            logger.warning("the signing keys have changed: %s signs now", self._keys[0].id)
        except (OSError, ValueError) as error:
            logger.warning("the signing keys stay as they were: %s: %s", self._path, error)


def keys_in(settings: Settings) -> tuple[Key, ...]:
    """The keys of the settings; none where the file of the data folder has them."""
    found = (settings.secret, settings.previous_secret)
    return tuple(Key(secret.encode()) for secret in found if secret is not None)


def read(path: Path) -> tuple[Key, ...]:
    """Return the keys of the file, the one that signs first.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else.
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
    """Draw a first key, unless there is one; if several processes try, all get the same.

    The key is durable then, so that no token is signed with one that a power cut takes away.
    """
    make_folder(path.parent, 0o700)
    if not path.exists():
        draft = _drafted(path, _drawn())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    sync_folder(path.parent)


def rotate(path: Path, overlap_s: float, *, retired: str | None = None) -> tuple[Key, ...]:
    """Draw a new key that signs, and return all keys that count now.

    The earlier ones verify for ``overlap_s`` seconds at most; the one with the id ``retired`` not
    any more.

    Raises:
        UserError: there is no key of that id, or there are too many keys.
        OSError, ValueError: the file cannot be used.
    """
    with _locked(path.parent):
        now = time.time()
        found = read(path)
        if retired is not None and retired not in {key.id for key in found}:
            raise UserError(f"there is no key {retired!r}: `photolog tokens keys` lists them")
        until = float(int(now + overlap_s + LEEWAY_S))
        earlier = [
            Key(key.secret, min(key.until, until))
            for key in found
            if key.until > now and key.id != retired
        ]
        if len(earlier) >= MOST_KEYS:
            raise UserError(f"{len(earlier)} keys still verify tokens: retire one with --retire")
        keys = (Key(_drawn()), *earlier)
        lines = [keys[0].secret, *(b"%b %b" % (key.secret, _moment(key.until)) for key in earlier)]
        _drafted(path, b"\n".join(lines)).replace(path)
        sync_folder(path.parent)
        return keys


def key_path(settings: Settings) -> Path:
    return settings.folder / SECRET_FILE


def _drawn() -> bytes:
    return secrets.token_urlsafe(32).encode()


def _moment(moment: float) -> bytes:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").encode()


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _drafted(path: Path, content: bytes) -> Path:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    # One that a crashed process of this id has left may be a second name of the secret itself.
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
    """One who changes the file at a time."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
