"""The disk under the blobs: files that are durable once they are linked, and its errors as ours."""

import os
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import BinaryIO

from store.blobs.interface import DRAFTS
from store.errors import Exists, Full, Missing, Unavailable

FOLDERS_KNOWN = 10_000
"""Folders that a process remembers as durable; one takes some 200 bytes."""

SHARED_DEPTH = 2
"""Folders so far below the root, as ``originals/ab``, hold many photos, and are never removed."""


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


class Folders:
    """The folders of blobs under ``root``. A folder that ``make`` has returned for is durable.

    That a folder is there does not say that its name is on the disk: another process may be making
    it just now. So the first use by each process syncs its parent; later ones cost nothing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._durable: OrderedDict[Path, None] = OrderedDict()

    def make(self, folder: Path) -> None:
        """Make the folder and those above it, up to ``root``.

        Raises FileNotFoundError if a deletion removes one of them again meanwhile.
        """
        if folder == self.root or folder in self._durable:
            return
        self.make(folder.parent)
        # Not `exist_ok`, which looks again and fails if a deletion has removed it by then.
        with suppress(FileExistsError):
            folder.mkdir()
        sync_folder(folder.parent)
        self._durable[folder] = None
        if len(self._durable) > FOLDERS_KNOWN:
            self._durable.popitem(last=False)

    def forget(self, folder: Path) -> None:
        """The folder, and perhaps those above it, were removed."""
        for each in (folder, *folder.parents):
            self._durable.pop(each, None)

    def remove(self, path: Path) -> None:
        """Remove the file durably, if there is one, and the folders of its photo that are empty.

        The folders above those stay: another process may be storing a photo in one of them, and
        relies on having made it durable.
        """
        try:
            path.unlink()
        except FileNotFoundError:
            if not is_mounted(self.root):
                raise
        folder = path.parent
        while len(folder.relative_to(self.root).parts) > SHARED_DEPTH:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:  # not empty
                break
            self.forget(folder)
            folder = folder.parent
        while True:
            try:
                return sync_folder(folder)
            except FileNotFoundError:  # another deletion has removed it, too
                if not is_mounted(self.root):
                    raise
                folder = folder.parent


def link(path: Path, file: Path, folders: Folders, *, replace: bool) -> None:
    """Make ``path`` a name of the file too, durably, making the folders it needs.

    Raises FileExistsError if that is the name of a file that it must not ``replace``.
    """
    while True:
        try:
            folders.make(path.parent)
            if replace:
                _replace(path, file)
            else:
                path.hardlink_to(file)
            sync_folder(path.parent)
            return
        except FileNotFoundError:
            # The deletion of another blob has removed the folder that was empty again.
            folders.forget(path.parent)
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


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make the folder, and those above it that are missing, durably.

    The name of a folder that exists is synced, too: a process that was killed may have made it.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode)
        sync_folder(folder.parent)
        return
    with suppress(PermissionError):  # the parent belongs to somebody else, who made the folder
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make what has been linked there durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_mounted(root: Path) -> bool:
    """False for the empty folder that is left where a disk was mounted."""
    return (root / DRAFTS).is_dir()


@contextmanager
def translated(root: Path | None = None, key: str = "") -> Generator[None]:
    """Turn the disk's errors into ours. Only the blob ``key`` of ``root`` can be Missing."""
    try:
        yield
    except FileNotFoundError as error:
        if root is not None and is_mounted(root):
            raise Missing(f"there is no blob {key}") from error
        raise Unavailable(f"the disk of the blobs has no {error.filename}") from error
    except FileExistsError as error:
        raise Exists(f"there is a blob {key} already") from error
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise Full("the disk of the blobs is full") from error
        raise Unavailable(f"the disk of the blobs failed: {error.strerror}") from error
