"""Checks an export before anything of it is written.

Refused, because no Photolog writes it: members, manifest and segments that do not belong together,
a lack of entries, an event that cannot be read, that is not in the partition of its client, or that
names other files than those of photos.

Named, and refused unless the caller accepts it: a broken hash chain, and a photo's file that is
missing or has other bytes than its event records. Altered files are left out.

Files that no event names are left out too: the export of a running system may have some.
"""

import hashlib
import itertools
from collections.abc import AsyncIterator, Iterator

import msgspec
from anyio import to_thread

from domain.photo.events import (
    Data,
    Event,
    OriginalRestored,
    PhotoDeleted,
    PhotoErased,
    PhotoUploaded,
    RenditionsRemoved,
    RenditionsSuperseded,
    StageCompleted,
    ThumbnailGenerated,
)
from domain.photo.results import ORIGINAL, Rendition
from domain.system_events import SystemData
from ops.errors import UserError
from ops.maintenance.audit import Chains
from ops.maintenance.export_file import Export, Sourced, is_photo
from ops.maintenance.log_export import Progress
from store.archive.adding import AT_ONCE, PARTS_MAX
from store.errors import Corrupt
from store.keys import partition_of
from store.log import codec
from store.log.entries import StoredEntry
from store.log.recorded import is_foreign

POSITION_MAX = 2**52
"""Milliseconds and sequence numbers are below it, so that scripts can compare them exactly."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a photo, as an event records it; ``sha256`` in hex."""

    photo_id: str
    sha256: str


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A sound export: what of it is imported. ``digest`` is the SHA-256 of the whole file, in hex.

    ``anchor`` is that of its events alone, as ``ops.maintenance.audit`` computes it.
    ``files`` are those to store, by key. ``unnamed`` counts files that no event names, ``damages``
    says what was wrong and accepted.
    """

    digest: str
    anchor: str
    events: int
    foreign: int
    files: dict[str, Recorded]
    unnamed: int
    damages: list[str]


class DamagedExport(UserError):
    """Chains are broken, or files are missing or altered: ``damages`` names each."""

    def __init__(self, damages: list[str]) -> None:
        super().__init__(
            "nothing was imported: export again from a system without this damage, or import what "
            "is there with --damaged"
        )
        self.damages = damages


async def check(
    export: Export,
    *,
    accept_damage: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> Checked:
    """Read the whole export, and check it as the module says.

    Raises:
        Corrupt: it is not sound.
        DamagedExport: some of it is damaged, without ``accept_damage``.
    """
    digest = await to_thread.run_sync(export.sha256)
    chains, named, foreign = Chains(), _Named(), 0
    for partition in range(export.manifest.partitions):
        async for each in in_thread(export.entries(partition)):
            fields = each.entry.fields
            if is_foreign(fields):
                foreign += 1
                continue
            chains.take(StoredEntry(position=each.place, fields=fields))
            named.take(each, event_of(each, export.manifest.partitions))
            if chains.events % AT_ONCE == 0:
                progress(chains.events, None)
    damages = [
        f"broken  {each.chain}  version {each.version} at {each.position}: {each.problem}"
        for each in chains.breaks
    ]
    files, unnamed = dict[str, Recorded](), 0
    there = export.files()
    for done, key in enumerate(there):
        progress(done, len(there))
        recorded = named.files.get(key)
        if recorded is None:
            unnamed += 1
        elif await to_thread.run_sync(_digest, export.chunks(key)) == recorded.sha256:
            files[key] = recorded
        else:
            damages.append(f"altered  {key}  of photo {recorded.photo_id}")
    if export.manifest.blobs:
        damages += (f"missing  {key}" for key in sorted(named.wanted() - there.keys()))
    if damages and not accept_damage:
        raise DamagedExport(damages)
    return Checked(
        digest=digest,
        anchor=chains.anchor,
        events=chains.events,
        foreign=foreign,
        files=files,
        unnamed=unnamed,
        damages=damages,
    )


def event_of(each: Sourced, partitions: int) -> Event:
    """Return the event; raises Corrupt if no log can have it there."""
    entry, place = each.entry, each.place
    if place.ms >= POSITION_MAX or place.seq >= POSITION_MAX:
        raise Corrupt(f"the export: {place} cannot be the position of an event")
    if len(entry.parts) > PARTS_MAX:
        raise Corrupt(f"the export: the event at {place} has {len(entry.parts) // 2:,} fields")
    try:
        event = codec.decode_event(entry.fields[b"b"])
    except Corrupt as error:
        raise Corrupt(f"the export: the event at {place} cannot be read: {error}") from error
    if target(event, partitions) != each.partition:
        raise Corrupt(f"the export: the event at {place} is of a client of another partition")
    first = event.metadata.photo_version == 1 and isinstance(event.data, Data)
    if first and not isinstance(event.data, PhotoUploaded):
        raise Corrupt(f"the export: the photo of the event at {place} was never uploaded")
    return event


def target(event: Event, partitions: int) -> int:
    """Return the partition that the event belongs to, out of as many."""
    if isinstance(event.data, SystemData):
        return 0
    return partition_of(event.metadata.client_id, partitions)


async def in_thread(items: Iterator[Sourced]) -> AsyncIterator[Sourced]:
    """Yield the items, which a thread reads."""
    while batch := await to_thread.run_sync(lambda: list(itertools.islice(items, AT_ONCE))):
        for each in batch:
            yield each


class _Named:
    """The files that events name: ``files``, by key."""

    def __init__(self) -> None:
        self.files: dict[str, Recorded] = {}
        self._current: dict[str, dict[str, str]] = {}

    def wanted(self) -> set[str]:
        """Return the keys of files that must exist: not replaced, and of no deleted photo."""
        return {key for keys in self._current.values() for key in keys.values()}

    def take(self, each: Sourced, event: Event) -> None:
        """Raises Corrupt if the event names something else than a photo's file."""
        match event.data:
            case PhotoUploaded(photo_id=photo_id) as data:
                self._add(each, photo_id, ORIGINAL, data)
            case ThumbnailGenerated(photo_id=photo_id, thumbnail=thumbnail):
                self._add(each, photo_id, thumbnail.name, thumbnail)
            case StageCompleted(photo_id=photo_id, renditions=renditions):
                for rendition in renditions:
                    self._add(each, photo_id, rendition.name, rendition)
            case RenditionsSuperseded(files=files) | RenditionsRemoved(files=files):
                for stored in files:
                    _check_key(each, stored.key)
            case OriginalRestored(key=key):
                _check_key(each, key)
            case PhotoDeleted(photo_id=photo_id) | PhotoErased(photo_id=photo_id):
                self._current.pop(photo_id, None)
            case _:
                pass

    def _add(
        self, each: Sourced, photo_id: str, name: str, file: PhotoUploaded | Rendition
    ) -> None:
        _check_key(each, file.key)
        self._current.setdefault(photo_id, {})[name] = file.key
        self.files[file.key] = Recorded(photo_id=photo_id, sha256=file.sha256)


def _check_key(each: Sourced, key: str) -> None:
    """Raise Corrupt if the event names anything else: workers read, replace and delete files."""
    if not is_photo(key):
        raise Corrupt(
            f"the export: the event at {each.place} names the file {key!r:.200}, which is not one "
            "of a photo"
        )


def _digest(chunks: Iterator[bytes]) -> str:
    sha256 = hashlib.sha256()
    for chunk in chunks:
        sha256.update(chunk)
    return sha256.hexdigest()
