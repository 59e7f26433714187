"""Reads an export of a log (``ops.maintenance.log_export``), and trusts nothing that it says.

The file may come from anyone: each member has a known name and a bounded size, and none is sparse,
since a sparse one expands to any size. So nothing is read into memory or stored that is larger than
the file itself, apart from segments, which have bounds of their own.
"""

import hashlib
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from ops.errors import UserError
from ops.maintenance.log_export import BLOBS, MANIFEST, Manifest
from store.archive.archive import FOLDER, is_segment
from store.archive.segment import SEGMENT_BYTES_MAX, Entry, Previous, Segment
from store.blobs.interface import CHUNK_BYTES
from store.errors import Corrupt
from store.log.position import Position

MANIFEST_BYTES_MAX = 1 << 20
PARTITIONS_MAX = 4_096
"""As many as the setting ``partitions`` allows."""

_LOG_ID = re.compile("[0-9a-f]{32}")
_PHOTO = re.compile(r"originals/[a-z0-9-]+/[a-z0-9.-]+|renditions/([a-z0-9-]+/){3}[a-z0-9.-]+")
_PARTITION = re.compile(rf"{FOLDER}/(\d+)/")

_FAILURES = (OSError, tarfile.TarError, ValueError, EOFError, RecursionError)


class Sourced(NamedTuple):
    """An entry of the export; ``position`` is ms, seq and partition, by which they are merged."""

    position: tuple[int, int, int]
    entry: Entry
    partition: int

    @property
    def place(self) -> Position:
        ms, seq, partition = self.position
        return Position(partition, ms, seq)


class Export:
    """An export on the disk, which is read in any order."""

    def __init__(self, path: Path) -> None:
        """Raises UserError if it is not an export that can be imported."""
        self._path = path
        if path.exists() and not path.is_file():
            raise UserError(
                f"{path} is not a file, and an export is read in any order: copy it first"
            )
        try:
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115 # closed by ``close``
        except _FAILURES as error:
            raise UserError(f"{path} is not an export of a log: {error}") from error
        try:
            self._members = _members(path, self._tar)
            self.manifest = _manifest(path, self._bytes(MANIFEST))
            self._check_folders()
            self._check_end()
        except (*_FAILURES, KeyError) as error:
            self.close()
            raise UserError(f"{path} is not a whole export of a log: {error}") from error
        except UserError:
            self.close()
            raise

    def close(self) -> None:
        self._tar.close()

    def sha256(self) -> str:
        """Return the SHA-256 of the whole file, in hex."""
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def files(self) -> dict[str, int]:
        """Return the size in bytes of each file of a photo, by key."""
        return {
            name.removeprefix(BLOBS): member.size
            for name, member in self._members.items()
            if name.startswith(BLOBS)
        }

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of a photo's file; raises Corrupt."""
        name = BLOBS + key
        try:
            file = self._tar.extractfile(self._members[name])
            while file is not None and (chunk := file.read(CHUNK_BYTES)):
                yield chunk
        except _FAILURES as error:
            raise Corrupt(f"{name} of the export: {error}") from error

    def entries(self, partition: int) -> Iterator[Sourced]:
        """Yield the partition's entries in order.

        Raises:
            Corrupt: a segment is damaged, missing, or of another log.
        """
        expected = self.manifest.ranges[partition]
        prefix = f"{FOLDER}/{partition:02d}/"
        previous: Previous | None = None
        first: Position | None = None
        last: Position | None = None
        for name in sorted(each for each in self._members if each.startswith(prefix)):
            try:
                segment = Segment(self._bytes(name))
                self._check_next(segment, partition, previous)
                for positions, entries in segment.placed():
                    first = first or positions[0]
                    for last, entry in zip(positions, entries, strict=True):
                        yield Sourced((last.ms, last.seq, partition), entry, partition)
            except (Corrupt, *_FAILURES) as error:
                raise Corrupt(f"{name} of the export: {error}") from error
            previous = Previous(first=segment.head.first, sha256=segment.sha256)
        for what, found, wanted in (
            ("begins", first, expected.first),
            ("ends", last, expected.last),
        ):
            if (found and str(found)) != wanted:
                raise Corrupt(
                    f"partition {partition} of the export {what} at {found}, but its manifest says "
                    f"{wanted}"
                )

    def _check_next(self, segment: Segment, partition: int, previous: Previous | None) -> None:
        head = segment.head
        if head.log != self.manifest.log:
            raise Corrupt(f"it belongs to the log {head.log:.50}, not to {self.manifest.log}")
        if head.previous != previous or head.partition != partition:
            raise Corrupt("it does not continue the segment before it")

    def _check_folders(self) -> None:
        for name in self._members:
            match = _PARTITION.match(name)
            if match is not None and int(match[1]) >= self.manifest.partitions:
                raise UserError(
                    f"{self._path} has the segment {name}, but only {self.manifest.partitions} "
                    "partitions"
                )

    def _check_end(self) -> None:
        """Check that nothing follows the archive, such as another one."""
        with self._path.open("rb") as file:
            file.seek(self._tar.offset)
            while chunk := file.read(CHUNK_BYTES):
                if any(chunk):
                    raise UserError(
                        f"{self._path} has more than one export: it goes on after byte "
                        f"{self._tar.offset:,}, where the first one ends"
                    )

    def _bytes(self, name: str) -> bytes:
        file = self._tar.extractfile(self._members[name])
        return b"" if file is None else file.read()


def is_photo(key: str) -> bool:
    """Return whether this can be the key of a photo's file: events must name no other one."""
    return _PHOTO.fullmatch(key) is not None and ".." not in key


def _members(path: Path, tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Return the members by name; raises UserError for one that an export does not have."""
    found: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        if member.isdir():
            continue
        name = member.name
        known = is_segment(name) or (name.startswith(BLOBS) and is_photo(name.removeprefix(BLOBS)))
        if not (known or name == MANIFEST) or not member.isreg() or member.issparse():
            raise UserError(f"{path} has a member {name!r:.200} that no export has")
        if name in found:
            raise UserError(f"{path} has two members {name}")
        most = MANIFEST_BYTES_MAX if name == MANIFEST else SEGMENT_BYTES_MAX
        if not name.startswith(BLOBS) and member.size > most:
            raise UserError(f"{path}: its member {name} has {member.size:,} bytes: too many")
        found[name] = member
    return found


def _manifest(path: Path, content: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not an export of a log: {error}") from error
    if manifest.version != 1:
        raise UserError(f"{path} was exported by a newer Photolog: import it with that one")
    if not manifest.complete:
        raise UserError(f"{path} has only a part of a log: export all of it to import it")
    if not 1 <= manifest.partitions <= PARTITIONS_MAX or not _LOG_ID.fullmatch(manifest.log):
        raise UserError(
            f"{path}: its manifest names {manifest.partitions} partitions of the log "
            f"{manifest.log!r:.50}, which no log has"
        )
    if [each.partition for each in manifest.ranges] != list(range(manifest.partitions)):
        raise UserError(
            f"{path}: its manifest must have one range for each of {manifest.partitions} "
            "partitions, in order"
        )
    return manifest
