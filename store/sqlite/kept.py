"""The files in ``kept/`` of a read model folder: what the log may have lost.

| file | what |
|---|---|
| ``<generation>.sqlite`` | a replaced generation, which may hold facts that the log has lost |
| ``<generation>.sqlite-unexamined`` | it was just replaced, and may hold none |
| ``partition-07-<ms>-<seq>.sqlite`` | events that one partition of the log has lost |
"""

import os
import re
import uuid
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from store.blobs.disk import make_folder, sync_folder
from store.sqlite.connection import translated

MOST_KEPT = 2
"""How many replaced generations are kept, see ``Generations.switch``."""

NAME = re.compile(rb"[0-9a-f]{12}\.sqlite")
"""The name of a generation."""

UNEXAMINED = "-unexamined"


class KeptFiles:
    """The kept files of one read model folder: at most ``most_kept`` replaced generations."""

    def __init__(self, folder: Path, most_kept: int = MOST_KEPT) -> None:
        self.most_kept = most_kept
        self._kept = folder / "kept"

    @translated()
    def kept(self) -> list[Path]:
        """Return the generations that were replaced and kept, the oldest first."""
        return [path for path in self.all_kept() if NAME.fullmatch(path.name.encode())]

    @translated()
    def kept_of(self, partition: int) -> list[Path]:
        """Return the files with events that the partition has lost, the oldest first."""
        return [path for path in self.all_kept() if path.name.startswith(_lost_in(partition))]

    @translated()
    def all_kept(self) -> list[Path]:
        """Return every file that is kept, the oldest first, without ``unexamined`` ones."""
        found = [path for path in self._kept.glob("*.sqlite") if not _unexamined(path).exists()]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    @translated()
    def unexamined(self) -> list[Path]:
        """Return the replaced generations of which nobody has said yet whether they are needed."""
        marks = self._kept.glob(f"*.sqlite{UNEXAMINED}")
        return [mark.with_name(mark.name.removesuffix(UNEXAMINED)) for mark in marks]

    @translated()
    def examined(self, kept: Path, *, needed: bool) -> None:
        """Keep what ``switch`` has kept, or remove it."""
        if not needed:
            remove(kept)
        _unexamined(kept).unlink(missing_ok=True)

    @translated()
    def keep_of(self, partition: int, name: str, file: Path) -> Path | None:
        """Move a closed and synced ``file`` with lost events of the partition to where it is kept.

        If ``most_kept`` of the partition are kept already, those stay and this returns None.
        """
        if len(self.kept_of(partition)) >= self.most_kept:
            return None
        make_folder(self._kept, 0o700)
        kept = self._kept / f"{_lost_in(partition)}{name}.sqlite"
        file.replace(kept)
        sync_folder(self._kept)
        return kept

    @translated()
    def replace_kept(self, kept: Path, copy: Path) -> None:
        """Put a closed and synced ``copy`` in the place of a kept generation.

        At each moment one of the two is there. After a crash it may have another name, which the
        next call for this generation uses again.
        """
        other = kept.with_name(f"{sha256(kept.name.encode()).hexdigest()[:12]}.sqlite")
        copy.replace(other)
        sync_folder(self._kept)
        for file in reversed(files_of(kept)):
            file.unlink(missing_ok=True)
        other.replace(kept)
        sync_folder(self._kept)

    def _keep(self, live: Path, *, needed: bool) -> Path | None:
        """Link the live generation before any of its files could be removed."""
        if live.stat().st_size == 0 or len(self.kept()) >= self.most_kept:
            return None
        make_folder(self._kept, 0o700)
        kept = self._kept / live.name
        if kept.exists() and not kept.samefile(live):  # it was live before, and went on since
            kept = kept.with_name(f"{uuid.uuid4().hex[:12]}.sqlite")
        if not needed:
            _unexamined(kept).touch()
        for suffix in ("-wal", ""):  # the WAL is there before the file is
            Path(f"{kept}{suffix}").unlink(missing_ok=True)  # of a switch that was killed
            with suppress(FileNotFoundError):
                os.link(live.with_name(live.name + suffix), f"{kept}{suffix}")
        sync_folder(self._kept)
        return kept


@translated()
def remove(path: Path) -> None:
    """Delete a generation with its WAL files."""
    for file in files_of(path):
        file.unlink(missing_ok=True)


def files_of(path: Path) -> list[Path]:
    """Return the paths of a generation, its WAL and the WAL's index."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def _unexamined(kept: Path) -> Path:
    return kept.with_name(kept.name + UNEXAMINED)


def _lost_in(partition: int) -> str:
    return f"partition-{partition:02d}-"
