"""The disk under the blobs: files that are durable once they are linked, and its errors as ours."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import BinaryIO

from store.blobs import DRAFTS
from store.errors import Exists, Full, Missing, Unavailable


def create(path: Path) -> BinaryIO:
    """A new file for ``write``."""
    return path.open("xb", buffering=0)


def write(file: BinaryIO, data: bytes | bytearray) -> None:
    """All of it, or raises what kept the rest from being written."""
    left = memoryview(data)
    while left:  # an unbuffered write may take a part, so that the next can say why
        left = left[file.write(left) :]


def try_out(path: Path, size: int) -> None:
    """Write ``size`` bytes to a new file, durably, and remove it."""
    with create(path) as file:
        try:
            write(file, bytes(size))
            os.fsync(file.fileno())
        finally:
            path.unlink()


def link(path: Path, file: Path, root: Path, *, replace: bool) -> None:
    """Make ``path`` under ``root`` a name of the file too, making the folders it needs.

    Raises FileExistsError if that is the name of a file that it must not ``replace``.
    """
    while True:
        _make_folders(path.parent, root)
        try:
            if replace:
                _replace(path, file)
            else:
                path.hardlink_to(file)
            return
        except FileNotFoundError:
            # The deletion of another blob has removed the folder that was empty again.
            if not file.exists():
                raise


def _replace(path: Path, file: Path) -> None:
    # A link cannot replace a file that is there, a rename can.
    link = file.with_name(f"{file.name}.link")
    link.hardlink_to(file)
    try:
        link.rename(path)
    except OSError:
        link.unlink(missing_ok=True)
        raise


def _make_folders(folder: Path, root: Path) -> None:
    made: list[Path] = []
    while folder != root and not folder.exists():
        made.append(folder)
        folder = folder.parent
    for new in reversed(made):
        with suppress(FileExistsError):  # somebody else made it, and may have removed it again
            new.mkdir(parents=True)
        sync_folder(new.parent)


def sync_folder(folder: Path) -> None:
    """Make what has been linked there durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path, root: Path) -> None:
    """Remove the file, if there is one, and the folders that are empty then."""
    try:
        path.unlink()
    except FileNotFoundError:
        if not is_there(root):
            raise
    for folder in path.parents:
        if folder in (root, root / "originals", root / "renditions"):
            return
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone already
            return


def is_there(root: Path) -> bool:
    """False for the empty folder that is left where a disk was mounted."""
    return (root / DRAFTS).is_dir()


@contextmanager
def translated(root: Path | None = None, key: str = "") -> Generator[None]:
    """Turn the disk's errors into ours. Only the blob ``key`` of ``root`` can be Missing."""
    try:
        yield
    except FileNotFoundError as error:
        if root is not None and is_there(root):
            raise Missing(f"there is no blob {key}") from error
        raise Unavailable(f"the disk of the blobs has no {error.filename}") from error
    except FileExistsError as error:
        raise Exists(f"there is a blob {key} already") from error
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise Full("the disk of the blobs is full") from error
        raise Unavailable(f"the disk of the blobs failed: {error.strerror}") from error
