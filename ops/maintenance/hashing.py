"""Check that stored files still have the bytes that the log records, by hashing every file.

The entries of the log are read as stored, because this has to work on a log that somebody changed:
an unreadable event names no file here, and ``ops.maintenance.audit`` reports it.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping

import anyio
import msgspec

from domain.photo.events import (
    PhotoDeleted,
    PhotoErased,
    PhotoUploaded,
    StageCompleted,
    ThumbnailGenerated,
)
from store.blobs.damaged import Damage
from store.blobs.interface import Readable
from store.errors import Corrupt, Missing
from store.log.entries import entries
from store.log.log import Log

AT_ONCE = 4
"""Files read concurrently: a round trip to an S3 server takes longer than hashing."""

Progress = Callable[[int, int], None]
"""Called with ``(done, total)`` in files."""


def _ignore(_done: int, _total: int) -> None: ...


class Recorded(msgspec.Struct, kw_only=True):
    """The size in bytes and the SHA-256 that an event of the photo records for a file.

    A file that a later job has ``replaced`` may or may not exist.
    """

    photo_id: str
    size: int
    sha256: bytes
    replaced: bool = False


class Altered(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file whose bytes differ from what the log records; digests in hex, sizes in bytes."""

    key: str
    photo_id: str
    size: int
    sha256: str
    recorded_size: int
    recorded_sha256: str


class Hashed(msgspec.Struct, kw_only=True, rename="camel"):
    """``files`` and ``size_bytes`` count what was read; ``superseded`` of the files are renditions
    that a later job has replaced.

    ``missing`` are the keys of files that do not exist, ``unreadable`` of those that do.
    """

    files: int = 0
    size_bytes: int = 0
    superseded: int = 0
    missing: list[str] = []
    unreadable: list[str] = []
    altered: list[Altered] = []

    @property
    def well(self) -> bool:
        return not (self.missing or self.unreadable or self.altered)

    @property
    def damages(self) -> dict[str, Damage]:
        """The damage to each file, by key."""
        damages: dict[str, Damage] = dict.fromkeys(self.missing, "missing")
        changed = (*self.unreadable, *(each.key for each in self.altered))
        for key in changed:
            damages[key] = "altered"
        return damages

    @property
    def verdict(self) -> str:
        """A summary of the damage; empty if there is none."""
        counts = {
            "altered": len(self.altered),
            "unreadable": len(self.unreadable),
            "missing": len(self.missing),
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)

    def lines(self) -> Iterator[str]:
        """Yield a line for each damaged file."""
        yield from (f"missing  {key}" for key in self.missing)
        yield from (f"unreadable  {key}" for key in self.unreadable)
        for each in self.altered:
            yield (
                f"altered  {each.key}  of photo {each.photo_id}: {each.size:,} bytes with SHA-256 "
                f"{each.sha256}, but the log records {each.recorded_size:,} bytes with "
                f"{each.recorded_sha256}"
            )


async def check_files(
    log: Log,
    blobs: Readable,
    *,
    only: str | None = None,
    renditions: bool,
    progress: Progress = _ignore,
) -> Hashed:
    """Read the files of every photo that is not deleted, or of one, and compare their bytes.

    It reads the originals, and with ``renditions`` also the renditions. The system may be running:
    files that are deleted meanwhile are left out.

    Raises:
        Unavailable: Redis or the files cannot be read.
    """
    found = await hash_files(blobs, await recorded(log, only, renditions=renditions), progress)
    if not found.well:
        still = await recorded(log, only, renditions=renditions)
        wanted = {key for key, file in still.items() if not file.replaced}
        found.missing = [key for key in found.missing if key in wanted]
        found.unreadable = [key for key in found.unreadable if key in still]
        found.altered = [each for each in found.altered if each.key in still]
    return found


async def hash_files(
    blobs: Readable, files: Mapping[str, Recorded], progress: Progress = _ignore
) -> Hashed:
    """Read each of the files in chunks, and compare it with its record.

    Raises:
        Unavailable: the files cannot be read.
    """
    found = Hashed()
    waiting = iter(sorted(files.items()))
    done = 0

    async def work() -> None:
        nonlocal done
        for key, expected in waiting:
            await _hash_file(blobs, key, expected, found)
            done += 1
            progress(done, len(files))

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(work)
    found.missing.sort()
    found.unreadable.sort()
    found.altered.sort(key=lambda each: each.key)
    return found


async def _hash_file(blobs: Readable, key: str, expected: Recorded, found: Hashed) -> None:
    digest, size = hashlib.sha256(), 0
    try:
        async for chunk in blobs.read(key):
            digest.update(chunk)
            size += len(chunk)
    except (Missing, ValueError):  # ValueError: a key that leads out of the folder
        if not expected.replaced:
            found.missing.append(key)
        return
    except Corrupt:
        found.unreadable.append(key)
        return
    found.files += 1
    found.size_bytes += size
    found.superseded += expected.replaced
    if digest.digest() != expected.sha256:
        found.altered.append(
            Altered(
                key=key,
                photo_id=expected.photo_id,
                size=size,
                sha256=digest.hexdigest(),
                recorded_size=expected.size,
                recorded_sha256=expected.sha256.hex(),
            )
        )


class _File(msgspec.Struct, frozen=True, rename="camel"):
    key: str
    file_size: int
    sha256: str
    name: str = "original"


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a photo's event that name stored bytes; an upload is itself a ``_File``."""

    photo_id: str
    thumbnail: _File | None = None
    renditions: tuple[_File, ...] = ()


class _Event(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw


_event = msgspec.msgpack.Decoder(_Event)
_data = msgspec.msgpack.Decoder(_Data)
_upload = msgspec.msgpack.Decoder(_File)

MADE = (ThumbnailGenerated.TYPE, StageCompleted.TYPE)
GONE = (PhotoDeleted.TYPE, PhotoErased.TYPE)


async def recorded(
    log: Log, only: str | None = None, *, renditions: bool = False
) -> dict[str, Recorded]:
    """Return the files that may exist, by key; raises Unavailable."""
    found: dict[str, Recorded] = {}
    for partition in range(log.partitions):
        names: dict[str, dict[str, str]] = {}  # photo id -> name of the file -> key
        keys: dict[str, list[str]] = {}
        async for entry in entries(log, await log.last_entry(partition)):
            try:
                photo_id, files, gone = _parse(entry.fields.get(b"b", b""), renditions=renditions)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if only not in (None, photo_id):
                continue
            for file in files:
                before = names.setdefault(photo_id, {}).get(file.name, file.key)
                if before != file.key and before in found:
                    found[before].replaced = True
                names[photo_id][file.name] = file.key
                keys.setdefault(photo_id, []).append(file.key)
                found[file.key] = _recorded(photo_id, file)
            if gone:
                names.pop(photo_id, None)
                for key in keys.pop(photo_id, ()):
                    found.pop(key, None)
    return found


def _parse(body: bytes, *, renditions: bool) -> tuple[str, tuple[_File, ...], bool]:
    """Return the event's photo, the files that it names, and whether it removes all of them."""
    event = _event.decode(body)
    if event.type == PhotoUploaded.TYPE:
        return _data.decode(event.data).photo_id, (_upload.decode(event.data),), False
    if event.type in GONE:
        return _data.decode(event.data).photo_id, (), True
    if not renditions or event.type not in MADE:
        return "", (), False
    data = _data.decode(event.data)
    thumbnail = () if data.thumbnail is None else (data.thumbnail,)
    return data.photo_id, (*thumbnail, *data.renditions), False


def _recorded(photo_id: str, file: _File) -> Recorded:
    try:
        sha256 = bytes.fromhex(file.sha256)
    except ValueError:  # not a digest: no bytes can match
        sha256 = b""
    return Recorded(photo_id=photo_id, size=file.file_size, sha256=sha256)
