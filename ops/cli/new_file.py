"""Write a new file, which appears under its name once it is whole."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from ops.errors import UserError
from store.blobs.disk import sync_folder


@contextmanager
def new_file(file: Path) -> Generator[BinaryIO]:
    """Yield what is written to the ``file``, which is there, and durable, after the block.

    Until then it is ``FILE.partial``, which is locked, and removed if the block fails. The next run
    for the same file replaces what one that was killed has left.

    Raises:
        UserError: there is such a file or link, another process writes it, or it cannot be written.
    """
    partial = file.with_name(f"{file.name}.partial")
    try:
        with os.fdopen(_locked(file, partial), "wb") as target:
            try:
                yield target
                target.flush()
                os.fsync(target.fileno())
                _refuse_existing(file)
                partial.rename(file)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        sync_folder(file.parent)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}") from error


def _locked(file: Path, partial: Path) -> int:
    """Return a descriptor of the empty ``partial``, with its lock."""
    _refuse_existing(file)
    handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        _lock(handle, file, partial)
        _refuse_existing(file)  # another process may have finished it meanwhile
        os.ftruncate(handle, 0)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _lock(handle: int, file: Path, partial: Path) -> None:
    found = os.fstat(handle)
    if not S_ISREG(found.st_mode):
        raise UserError(f"{partial} is not a file: remove it, or name another file than {file}")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_this = os.path.samestat(partial.stat(), found)
    except (BlockingIOError, FileNotFoundError):
        is_this = False
    if not is_this:
        raise UserError(f"another process writes {file}: wait for it, or name another file")


def _refuse_existing(file: Path) -> None:
    if os.path.lexists(file):
        raise UserError(f"{file} exists already: name another file, or remove it")
