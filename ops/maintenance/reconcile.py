"""Files and log compared: what a crash leaves unnamed, and what is named but missing.

A file appears before the event that names it, so a file without an event is either new or was left
by a process that ended in between. The other way round something is lost. Only of the files that a
later job has replaced, and of those of deleted photos, either is right: there or not.

An original without an event may be the last copy of a photo whose upload was answered, and whose
event a failover has lost. No alert need have named it: whoever knew may be gone. So it is orphaned,
and kept until an operator decides, unless it is certain that its upload was never answered:

| evidence | what follows |
|---|---|
| its photo was erased | nobody wants it any more: it is removed |
| there is no trace of its draft | its upload came to an end, so it may have been answered |
| there is a trace | its gateway ended before it could answer: a trace goes before the answer |
| the log is known to have lost events since, or ends earlier | it may have been answered |
| a failover can lose answered events of this log | another gateway may have answered for it |

The last row is about an upload that was sent again: the other gateway found the event of the first.
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
from ops.runtime import log_ownership
from projections import data_loss
from store.blobs import damaged
from store.blobs.damaged import NOTED_MAX, Damage
from store.blobs.interface import DRAFTS, PROBES, Blob, Blobs, Leftover, is_key, traced
from store.errors import StoreError
from store.log.log import Log

logger = logging.getLogger("photolog.reconcile")

ORIGINALS = "originals/"
PREFIXES = ("originals", "renditions", PROBES)


class Missing(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file that an event of the photo names, and that is not there."""

    key: str
    photo_id: str


class Damaged(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file of another size than the event of the photo says; in bytes."""

    key: str
    photo_id: str
    size: int
    recorded: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``named`` counts the files that should be there; ``unnamed`` are those that no event names.

    ``orphaned`` are originals that no event names and whose upload may have been answered: perhaps
    the last copies of accepted photos. ``superseded`` are renditions that a later job has replaced,
    so that nothing shows them. ``drafts`` were being written, by processes that are perhaps gone.
    ``strays`` are files in no folder of ours, or whose names are no keys: others put them there.
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
        """What is wrong with the files that events name, by key."""
        damages: dict[str, Damage] = {each.key: "missing" for each in self.missing}
        for each in self.damaged:
            damages[each.key] = "altered"
        return damages

    def is_settled(self, *, removed: bool, orphans: bool) -> bool:
        """Whether nothing was found but what ``remove`` has deleted.

        Superseded renditions do not count: they wait until workers remove them.
        """
        if self.missing or self.damaged or self.strays:
            return False
        if not removed:
            return not (self.unnamed or self.orphaned or self.drafts)
        return orphans or not self.orphaned


class Names(msgspec.Struct, kw_only=True):
    """The files that the log names, each with its photo's id.

    ``doomed`` are those of deleted photos that are being erased: they may be there or not.
    ``superseded`` are renditions in whose place others are named, each with the time of that: they
    may be there or not. ``erased`` are the originals of erased photos: no file of these should be
    there. ``sizes`` are those of all, in bytes. ``until`` is when the log ends, and
    ``lost_until`` when it was last found to have lost events, in seconds since 1970.
    ``can_fail_over`` is whether a failover can lose answered events.
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
        """Whether this is an original that nobody may remove unasked; see the top of this file.

        ``traced`` are the blobs of which there is still the trace of a draft.
        """
        if not blob.key.startswith(ORIGINALS) or blob.key in self.erased:
            return False
        if blob.key not in traced or blob.modified > self.until:
            return True
        return self.has_lost(blob)

    def has_lost(self, blob: Blob) -> bool:
        """Whether events of the blob's time are lost, or may be without anybody's knowledge."""
        return self.can_fail_over or blob.modified < self.lost_until


class _Files(msgspec.Struct, kw_only=True):
    """Those of one photo: ``keys`` by name, as the photo's state has them, and the ``replaced``."""

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
    """A fold of the whole log; those of erased photos are not among them."""
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
    """Look at everything, on a system that may be at work; younger files are not reported.

    The age of superseded files counts from when they were replaced, and has to be ``links_s`` more:
    a link to one works for so long.

    The files are listed before the log is read, so one that is being recorded does not count as
    unnamed, and again after it, so one that is stored meanwhile does not count as missing.
    """
    before = time.time() - older_than_s
    everything = await blobs.keys("")
    listed = [blob for blob in everything if _is_ours(blob.key)]
    drafts = await blobs.keys("drafts")
    with_trace = {key for draft in drafts if (key := _traced(draft)) is not None}
    named = await names(log)
    unnamed = [blob for blob in listed if blob.modified < before and blob.key not in named]
    there = {blob.key: blob.size for blob in (*listed, *await _listed(blobs))}
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
            if not _is_ours(blob.key) and not _is_beside(blob.key)
        ],
    )


async def tell_health(log: Log, damages: Mapping[str, Damage]) -> None:
    """Let the health checks of all gateways tell of these files, at most ``NOTED_MAX`` of them.

    A failure is logged.
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
        logger.warning("`photolog health` will not tell of all of these: %s", error)


def _files_in(data: AnyEvent) -> Sequence[PhotoUploaded | Rendition]:
    """The files that the event names."""
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
    """Delete what no event names, and the drafts; originals whose upload may have been answered
    only with ``orphans``.

    What is superseded stays so, whatever happens meanwhile: each job has keys of its own.
    """
    more = (*(found.orphaned if orphans else ()), *(found.superseded if superseded else ()))
    for blob in (*found.unnamed, *more):
        await blobs.delete(blob.key)
    for draft in found.drafts:
        await blobs.clear(Leftover(draft=draft.key.removeprefix("drafts/"), key=None))


async def record_removed(log: Log, blobs: Blobs, context: Context) -> int:
    """Record superseded renditions that are no longer stored, so that they no longer count towards
    quotas; how many photos had any.

    Call it after ``remove``: it also records what a call that was killed in between has left.
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


async def settle(log: Log, blobs: Blobs) -> None:
    """Decide about the files of which an earlier process of this name did not see the end.

    Call it before that name's first draft. It reads the log only if there are such files.
    """
    leftovers = await blobs.leftovers()
    in_doubt = {leftover.key for leftover in leftovers if leftover.key is not None}
    kept = 0
    if in_doubt:
        named = await names(log)
        for key in sorted(in_doubt):
            if key in named:
                continue
            if key.startswith(ORIGINALS) and await _has_lost(blobs, named, key):
                kept += 1
            else:
                await blobs.delete(key)
    for leftover in leftovers:
        await blobs.clear(leftover)
    if leftovers:
        logger.warning("%d files were left by a process that was killed", len(leftovers))
    if kept:
        logger.warning(
            "%d originals without an event stay, because their uploads may have been answered: see "
            "`photolog reconcile`",
            kept,
        )


async def _has_lost(blobs: Blobs, named: Names, key: str) -> bool:
    """``Names.has_lost`` for a blob that is there."""
    there = await blobs.keys(key.rpartition("/")[0])
    return any(named.has_lost(blob) for blob in there if blob.key == key)


def _traced(draft: Blob) -> str | None:
    """The key of the blob that the draft became, if it became one."""
    return traced(draft.key.removeprefix("drafts/"))[1]


def _is_ours(key: str) -> bool:
    """Whether this is a file that an event may name, or a probe."""
    return key.startswith(tuple(f"{prefix}/" for prefix in PREFIXES)) and is_key(key)


def _is_beside(key: str) -> bool:
    """Whether this is a file that we keep beside those that events name."""
    return key == log_ownership.KEY or key.startswith(f"{DRAFTS}/")


def _readable(key: str) -> str:
    """The key, escaped where the name of the file is not UTF-8."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


async def _listed(blobs: Blobs) -> list[Blob]:
    return [blob for prefix in PREFIXES for blob in await blobs.keys(prefix)]
