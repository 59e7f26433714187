"""The files of a folder of generations, with their sizes."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec


class GenerationFile(msgspec.Struct, frozen=True, kw_only=True):
    """A generation on the disk, without its WAL; ``name`` is relative to the folder."""

    name: str
    size_bytes: int
    changed_at: datetime


def all_files(folder: Path) -> list[GenerationFile]:
    """Return the generations in the folder, and the kept ones, newest first."""
    found: list[GenerationFile] = []
    for path in (*folder.glob("*.sqlite"), *folder.glob("kept/*.sqlite")):
        with suppress(FileNotFoundError):  # removed meanwhile
            stat = path.stat()
            changed_at = datetime.fromtimestamp(stat.st_mtime, UTC)
            name = path.relative_to(folder).as_posix()
            found.append(GenerationFile(name=name, size_bytes=stat.st_size, changed_at=changed_at))
    return sorted(found, key=lambda each: each.changed_at, reverse=True)
