"""Compare files with the log: find files that no event names, and named files that are missing.

A file is stored before the event that names it, so a file without an event is either new or was
left by a process that ended in between. A named file without bytes is lost. Files that a later job
has replaced, and those of deleted photos, may or may not exist.

An original without an event may be the last copy of a photo whose upload was answered and whose
event a failover has lost. There may be no alert about it: the process that knew may have ended. So
it is orphaned, and kept until an operator decides, unless its upload was certainly never answered:

| evidence | conclusion |
|---|---|
| its photo was erased | it is no longer needed: it is removed |
| there is no trace of its draft | its upload ended, so it may have been answered |
| there is a trace | its gateway ended before it answered: a trace is removed before the answer |
| the log is known to have lost events since, or ends earlier | it may have been answered |
| a failover can lose answered events of this log | another gateway may have answered for it |

The last row is about a retried upload: the other gateway found the event of the first attempt.
"""

import logging
import time
from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from domain.photo.commands import RecordRenditionsRemoved
from domain.photo.events import (
    AnyEvent,
    Context,
    Data,
    PhotoDeleted,
    PhotoErased,
    PhotoUploaded,
    RenditionsRemoved,
    StageCompleted,
    StoredFile,
    ThumbnailGenerated,
)
from domain.photo.holdings import Holding, fold
from domain.photo.results import Rendition
from domain.pipeline.control_events import AlertRaised
from ops.maintenance import log_ownership
from projections import data_loss
from store.archive.archive import SET_ASIDE, is_segment
from store.archive.catalog import is_catalog
from store.blobs import damaged
from store.blobs.damaged import NOTED_MAX, Damage
from store.blobs.interface import DRAFTS, PROBES, Blob, Blobs, Leftover, is_key, traced
from store.errors import StoreError
from store.log.log import Log

logger = logging.getLogger("photolog.reconcile")

ORIGINALS = "originals/"
PREFIXES = ("originals", "renditions", PROBES)


class Missing(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file that an event of the photo names, and that does not exist."""

    key: str
    photo_id: str


class Damaged(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file whose size differs from the one that the event records; in bytes."""

    key: str
    photo_id: str
    size: int
    recorded: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``named`` counts the files that should exist; ``unnamed`` are files that no event names.

    ``orphaned`` are originals that no event names and whose upload may have been answered: perhaps
    the last copies of accepted photos. ``superseded`` are renditions that a later job has replaced;
    nothing shows them. ``drafts`` are unfinished files, perhaps of processes that have ended.
    ``strays`` are files outside Photolog's folders, or whose names are not keys.
    """

    named: int
    missing: list[Missing]
    damaged: list[Damaged]
    unnamed: list[Blob]
    orphaned: list[Blob]
    superseded: list[Blob]
    drafts: list[Blob]
    strays: list[Blob]

    @property
    def damages(self) -> dict[str, Damage]:
        """The damage to each file that events name, by key."""
        damages: dict[str, Damage] = {each.key: "missing" for each in self.missing}
        for each in self.damaged:
            damages[each.key] = "altered"
        return damages

    def is_settled(self, *, removed: bool, orphans: bool) -> bool:
        """Return whether nothing is left to do, given what ``remove`` has deleted.

        Superseded renditions do not count: workers remove them later.
        """
        if self.missing or self.damaged or self.strays:
            return False
        if not removed:
            return not (self.unnamed or self.orphaned or self.drafts)
        return orphans or not self.orphaned


class Names(msgspec.Struct, kw_only=True):
    """The files that the log names, each with its photo's id.

    ``doomed`` are files of deleted photos that are being erased: they may or may not exist.
    ``superseded`` are replaced renditions, each with the time of its replacement: they may or may
    not exist. ``erased`` are the originals of erased photos: none of their files should exist.
    ``sizes`` are in bytes, for all files. ``until`` is the time of the last event, and
    ``lost_until`` that of the last alert about lost events, in seconds since 1970.
    ``can_fail_over`` says whether a failover can lose answered events.
    """

    wanted: dict[str, str]
    doomed: dict[str, str]
    superseded: dict[str, float]
    sizes: dict[str, int]
    erased: set[str] = set()
    until: float = 0.0
    lost_until: float = 0.0
    can_fail_over: bool = False

    def __contains__(self, key: str) -> bool:
        return key in self.wanted or key in self.doomed or key in self.superseded

    def may_have_been_answered(self, blob: Blob, traced: Container[str]) -> bool:
        """Return whether only an operator may remove this original; see the module's docstring.

        ``traced`` are the keys of blobs whose draft has left a trace.
        """
        if not blob.key.startswith(ORIGINALS) or blob.key in self.erased:
            return False
        if blob.key not in traced or blob.modified > self.until:
            return True
        return self.has_lost(blob)

    def has_lost(self, blob: Blob) -> bool:
        """Return whether events of the blob's time are lost, or may be without an alert."""
        return self.can_fail_over or blob.modified < self.lost_until


class _Files(msgspec.Struct, kw_only=True):
    """The files of one photo: ``keys`` by name, as in the photo's state, and ``replaced`` ones."""

    keys: dict[str, str]
    replaced: dict[str, float] = {}
    deleted: bool = False

    def name(self, renditions: Iterable[Rendition], at: float) -> None:
        for each in renditions:
            before = self.keys.get(each.name, each.key)
            self.keys[each.name] = each.key
            if before != each.key:
                self.replaced[before] = at

    def forget(self, removed: Iterable[StoredFile]) -> None:
        for file in removed:
            self.replaced.pop(file.key, None)


async def names(log: Log) -> Names:
    """Fold the whole log; the files of erased photos are left out."""
    photos: dict[str, _Files] = {}
    found = Names(
        wanted={},
        doomed={},
        superseded={},
        sizes={},
        can_fail_over=log.guarantee.can_fail_over,
    )
    for partition in range(log.partitions):
        async for recorded in log.scan(partition):
            at = recorded.position.ms / 1000
            found.until = max(found.until, at)
            match recorded.event.data:
                case AlertRaised(code=data_loss.CODE):
                    found.lost_until = max(found.lost_until, at)
                case PhotoUploaded(photo_id=photo_id, key=key, file_size=size):
                    photos[photo_id] = _Files(keys={"original": key})
                    found.sizes[key] = size
                case ThumbnailGenerated(photo_id=photo_id, thumbnail=thumbnail):
                    photos[photo_id].name([thumbnail], at)
                    found.sizes[thumbnail.key] = thumbnail.file_size
                case StageCompleted(photo_id=photo_id, renditions=renditions):
                    photos[photo_id].name(renditions, at)
                    found.sizes.update((each.key, each.file_size) for each in renditions)
                case RenditionsRemoved(photo_id=photo_id, files=files):
                    photos[photo_id].forget(files)
                case PhotoDeleted(photo_id=photo_id):
                    photos[photo_id].deleted = True
                case PhotoErased(photo_id=photo_id):
                    found.erased.add(photos.pop(photo_id).keys["original"])
                case _:
                    pass
    for photo_id, files in photos.items():
        if files.deleted:
            keys = (*files.keys.values(), *files.replaced)
            found.doomed.update(dict.fromkeys(keys, photo_id))
        else:
            found.wanted.update(dict.fromkeys(files.keys.values(), photo_id))
            found.superseded.update(files.replaced)
    return found


async def compare(
    log: Log, blobs: Blobs, *, older_than_s: float, links_s: float = 0.0
) -> Comparison:
    """Compare all files with the log; the system may be running. Younger files are not reported.

    Superseded files are reported ``older_than_s + links_s`` after their replacement: links to them
    work for ``links_s``.

    The files are listed before the log is read, so a file that is being recorded does not count as
    unnamed, and again afterwards, so one that is stored meanwhile does not count as missing.
    """
    before = time.time() - older_than_s
    everything = await blobs.keys("")
    listed = _nameable(everything)
    drafts = await blobs.keys(DRAFTS)
    with_trace = {key for draft in drafts if (key := _traced(draft)) is not None}
    named = await names(log)
    unnamed = [blob for blob in listed if blob.modified < before and blob.key not in named]
    there = {blob.key: blob.size for blob in (*listed, *_nameable(await blobs.keys("")))}
    return Comparison(
        named=len(named.wanted),
        missing=[
            Missing(key=key, photo_id=photo_id)
            for key, photo_id in sorted(named.wanted.items())
            if key not in there
        ],
        damaged=[
            Damaged(key=key, photo_id=photo_id, size=there[key], recorded=named.sizes[key])
            for key, photo_id in sorted(named.wanted.items())
            if key in there and there[key] != named.sizes[key]
        ],
        unnamed=[blob for blob in unnamed if not named.may_have_been_answered(blob, with_trace)],
        orphaned=[blob for blob in unnamed if named.may_have_been_answered(blob, with_trace)],
        superseded=[
            blob
            for blob in listed
            if named.superseded.get(blob.key, before) < before - links_s
            and blob.key not in named.wanted
        ],
        drafts=[draft for draft in drafts if draft.modified < before],
        strays=[
            msgspec.structs.replace(blob, key=_readable(blob.key))
            for blob in everything
            if not _may_be_named(blob.key) and not _is_internal(blob.key)
        ],
    )


async def tell_health(log: Log, damages: Mapping[str, Damage]) -> None:
    """Have the health checks of all gateways report these files, at most ``NOTED_MAX`` of them.

    If that fails, a log line says so.
    """
    wanted = dict(list(damages.items())[:NOTED_MAX])
    try:
        for partition in range(log.partitions if wanted else 0):
            async for recorded in log.scan(partition):
                data = recorded.event.data
                for file in _files_in(data):
                    if (damage := wanted.get(file.key)) is not None:
                        await damaged.note(
                            *(log, file.key, damage),
                            photo_id=data.photo_id,
                            client_id=recorded.event.metadata.client_id,
                            sha256=file.sha256,
                        )
    except StoreError as error:
        logger.warning("`photolog health` will not report all of these files: %s", error)


def _files_in(data: AnyEvent) -> Sequence[PhotoUploaded | Rendition]:
    """Return the files that the event names."""
    match data:
        case PhotoUploaded():
            return (data,)
        case ThumbnailGenerated():
            return (data.thumbnail,)
        case StageCompleted():
            return data.renditions
        case _:
            return ()


async def remove(blobs: Blobs, found: Comparison, *, orphans: bool, superseded: bool) -> None:
    """Delete files that no event names, and drafts. Originals whose upload may have been answered
    are deleted only with ``orphans``, superseded renditions only with ``superseded``.

    Superseded renditions cannot come into use again meanwhile: each job has keys of its own.
    """
    more = (*(found.orphaned if orphans else ()), *(found.superseded if superseded else ()))
    for blob in (*found.unnamed, *more):
        await blobs.delete(blob.key)
    for draft in found.drafts:
        await blobs.clear(Leftover(draft=draft.key.removeprefix(f"{DRAFTS}/"), key=None))


async def record_removed(log: Log, blobs: Blobs, context: Context) -> int:
    """Record superseded renditions that are no longer stored, so that they no longer count towards
    quotas, and return how many photos had any.

    Call it after ``remove``: it also records what an earlier, killed call did not.
    """
    stored = {blob.key for blob in await blobs.keys("renditions")}
    holdings: dict[str, Holding] = {}
    clients: dict[str, str] = {}
    for partition in range(log.partitions):
        async for recorded in log.scan(partition):
            data = recorded.event.data
            if not isinstance(data, Data):
                continue
            after = fold(holdings.pop(data.photo_id, None), data)
            if after is not None and not after.deleted:
                holdings[data.photo_id] = after
                clients[data.photo_id] = recorded.event.metadata.client_id
    photos = 0
    for photo_id, holding in holdings.items():
        if gone := tuple(key for key in holding.superseded if key not in stored):
            removed = RecordRenditionsRemoved(photo_id=photo_id, keys=gone)
            await log.execute(removed, client_id=clients[photo_id], context=context)
            photos += 1
    return photos


def _traced(draft: Blob) -> str | None:
    """Return the key of the blob that the draft became, or None."""
    return traced(draft.key.removeprefix(f"{DRAFTS}/"))[1]


def _nameable(blobs: list[Blob]) -> list[Blob]:
    return [blob for blob in blobs if _may_be_named(blob.key)]


def _may_be_named(key: str) -> bool:
    """Return whether an event may name this file, or it is a probe."""
    return key.startswith(tuple(f"{prefix}/" for prefix in PREFIXES)) and is_key(key)


def _is_internal(key: str) -> bool:
    """Return whether this is one of Photolog's own files that no event names."""
    return (
        key in (log_ownership.KEY, log_ownership.PARTITIONS)
        or key.startswith((f"{DRAFTS}/", f"{SET_ASIDE}/"))
        or is_of_archive(key)
    )


def is_of_archive(key: str) -> bool:
    """Return whether this can be the key of a file of the archive, which no event names."""
    return is_segment(key) or is_catalog(key)


def _readable(key: str) -> str:
    """Return the key, escaped where the file's name is not UTF-8."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
