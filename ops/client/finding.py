"""Find the photos in files and folders of this machine.

In a folder, these are skipped: hidden files, files that are no photos, and what Photolog itself
keeps in a data folder, wherever it lies. Importing its own store would feed each import with the
last one.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from domain.photo.formats import HEAD_BYTES, sniff

MARKS = ("secret", "lock", "valkey", "blobs", "read-model")
"""Names in a data folder. Some may be missing, such as ``valkey`` if Redis runs elsewhere."""

MARKS_NEEDED = 3

OWN = frozenset({"blobs", "copies", "read-model", "uploads", "valkey"})
"""The folders of a data folder that hold nothing but Photolog's files."""

PHOTO_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif"),
        *(".heic", ".heif", ".jxl", ".bmp"),
        *(".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef"),
    }
)
"""Files with these names are sent even if they do not begin like a photo: they may be damaged, and
then the server has to say so."""

IsPhoto = Callable[[Path], bool]


class Failed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a file did not become a processed photo; ``code`` is the server's or this package's."""

    path: str
    code: str
    reason: str
    photo_id: str | None = None
    status: str = "failed"


class Found(msgspec.Struct, kw_only=True):
    """The files to upload with their sizes in bytes, and what else was found.

    ``others`` are the files that are no photos, ``own`` the data folders of Photolog.
    """

    files: list[tuple[Path, int]]
    hidden: int = 0
    failed: list[Failed] = []
    others: list[Path] = []
    own: list[Path] = []

    @property
    def size(self) -> int:
        return sum(size for _, size in self.files)

    def notes(self) -> list[str]:
        """Return a line for each kind of thing that was skipped, except hidden files."""
        notes = [f"{readable(each)}: skipped, it is a data folder of Photolog" for each in self.own]
        if self.others:
            kinds = Counter(each.suffix.lower() or "without a suffix" for each in self.others)
            named = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(KINDS_MAX))
            more = ", …" if len(kinds) > KINDS_MAX else ""
            notes.append(f"skipped, because they are not photos: {readable_text(named)}{more}")
        return notes


KINDS_MAX = 8
"""How many kinds of skipped files are named."""


def looks_like_photo(path: Path) -> bool:
    """Return whether the file begins or is named like a photo; true if it cannot be read."""
    if path.suffix.lower() in PHOTO_SUFFIXES:
        return True
    try:
        if path.stat().st_size == 0:  # among them the files of /proc, which can block
            return False
        with path.open("rb") as file:
            return sniff(file.read(HEAD_BYTES)) is not None
    except OSError:
        return True  # the upload will report it


def find_files(paths: Iterable[Path], *, is_photo: IsPhoto = looks_like_photo) -> Found:
    """Find the named files, and the photos in the named folders.

    A file that is named is taken, whatever it is.
    """
    found = Found(files=[])
    for path in paths:
        is_folder = path.is_dir()
        for file in _in_folder(path, found) if is_folder else (path,):
            try:
                if not file.is_file():
                    reason = "is not a file" if file.exists() else "does not exist"
                    found.failed.append(
                        Failed(path=readable(file), code="not-a-file", reason=reason)
                    )
                elif is_folder and not is_photo(file):
                    found.others.append(file)
                else:
                    found.files.append((file, file.stat().st_size))
            except OSError as error:
                found.failed.append(unreadable(file, error))
    return found


def _in_folder(folder: Path, found: Found) -> Iterator[Path]:
    def not_listed(error: OSError) -> None:
        found.failed.append(unreadable(Path(error.filename), error))

    if _is_within_data_folder(folder):
        found.own.append(folder)
        return
    for parent, folders, names in os.walk(folder, onerror=not_listed):
        if is_data_folder([*folders, *names]):
            found.own.append(Path(parent))
            folders.clear()
            continue
        shown = sorted(name for name in folders if not name.startswith("."))
        found.hidden += len(folders) - len(shown)
        folders[:] = shown
        for name in sorted(names):
            if name.startswith("."):
                found.hidden += 1
            else:
                yield Path(parent, name)


def is_data_folder(names: Iterable[str]) -> bool:
    """Return whether a folder with these entries is a data folder of Photolog."""
    entries = set(names)
    return sum(mark in entries for mark in MARKS) >= MARKS_NEEDED


def _is_within_data_folder(folder: Path) -> bool:
    """Return whether the folder is one of Photolog's own in a data folder, or lies in one."""
    whole = folder.resolve()
    for inner in (whole, *whole.parents):
        if inner.name in OWN:
            try:
                names = [each.name for each in inner.parent.iterdir()]
            except OSError:
                continue
            if is_data_folder(names):
                return True
    return False


def unreadable(path: Path, error: OSError) -> Failed:
    """Return the failure of a file that cannot be read."""
    return Failed(path=readable(path), code="unreadable", reason=error.strerror or str(error))


def readable(path: Path) -> str:
    """Return the path as text. File names are bytes; those that are not UTF-8 are replaced."""
    return readable_text(os.fspath(path))


def readable_text(text: str) -> str:
    """Return the text of a path with bytes that are not UTF-8 replaced."""
    return os.fsencode(text).decode("utf-8", "replace")
