"""File operations for blobs on a disk: durable links, and translation of the disk's errors."""

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
"""How many folders a process remembers as durable; each takes some 200 bytes."""

SHARED_DEPTH = 2
"""Folders down to this depth, such as ``originals/ab``, hold many photos and are never removed."""


def create(path: Path) -> BinaryIO:
    """Create a new file for ``write``."""
    return path.open("xb", buffering=0)


def write(file: BinaryIO, data: bytes | bytearray) -> None:
    """Write all of the data; raises the error that stopped a partial write."""
    left = memoryview(data)
    while left:  # an unbuffered write may be partial; the next one then raises the error
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
    """The folders of blobs under ``root``. Once ``make`` returns, its folder is durable.

    A folder that exists may not be durable yet, because another process may just have created it.
    So the first use by each process syncs the parent; later uses cost nothing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._durable: OrderedDict[Path, None] = OrderedDict()

    def make(self, folder: Path) -> None:
        """Make the folder and its parents, up to ``root``.

        Raises FileNotFoundError if a deletion removes one of them meanwhile.
        """
        if folder == self.root or folder in self._durable:
            return
        self.make(folder.parent)
        # Not `exist_ok`, which checks again and fails if a deletion has removed the folder by then.
        with suppress(FileExistsError):
            folder.mkdir()
        sync_folder(folder.parent)
        self._durable[folder] = None
        if len(self._durable) > FOLDERS_KNOWN:
            self._durable.popitem(last=False)

    def forget(self, folder: Path) -> None:
        """Forget a removed folder, and its parents, which may be removed too."""
        for each in (folder, *folder.parents):
            self._durable.pop(each, None)

    def remove(self, path: Path) -> None:
        """Remove the file durably, if it exists, and the empty folders of its photo.

        The folders above those stay, because another process that has made one of them durable may
        be storing a photo there.
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
            except FileNotFoundError:  # another deletion has removed it
                if not is_mounted(self.root):
                    raise
                folder = folder.parent


def link(path: Path, file: Path, folders: Folders, *, replace: bool) -> None:
    """Link ``path`` to the file, durably, and make the folders it needs.

    Raises FileExistsError if the path exists, unless ``replace``.
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
            # The deletion of another blob has removed the folder, which was empty.
            folders.forget(path.parent)
            if not file.exists():
                raise


def _replace(path: Path, file: Path) -> None:
    # A link cannot replace an existing file, but a rename can.
    link = file.with_name(f"{file.name}.link")
    link.hardlink_to(file)
    try:
        link.rename(path)
    except OSError:
        link.unlink(missing_ok=True)
        raise


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make the folder and its missing parents, durably.

    An existing folder is synced too, because a process that was killed may have made it.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode)
        sync_folder(folder.parent)
        return
    with suppress(PermissionError):  # the parent's owner is another user, who made the folder
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the links in the folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_mounted(root: Path) -> bool:
    """Return False for the empty folder that an unmounted disk leaves."""
    return (root / DRAFTS).is_dir()


@contextmanager
def translated(root: Path | None = None, key: str = "") -> Generator[None]:
    """Translate the disk's errors to StoreErrors. Only the blob ``key`` of ``root`` is Missing."""
    try:
        yield
    except FileNotFoundError as error:
        if root is not None and is_mounted(root):
            raise Missing(f"blob {key} does not exist") from error
        raise Unavailable(f"the disk of the blobs has no {error.filename}") from error
    except FileExistsError as error:
        raise Exists(f"blob {key} already exists") from error
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise Full("the disk of the blobs is full") from error
        raise Unavailable(f"the disk of the blobs failed: {error.strerror}") from error
