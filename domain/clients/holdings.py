"""What a photo counts towards the quotas of its client, folded from its events.

A client's usage is the sum over its photos. What a command adds to it is what its photo counts
after its events less what it counted before.
"""

from collections.abc import Iterable

import msgspec

from domain.photo import events as e
from domain.photo.commands import RecordStageCompleted
from domain.photo.results import Rendition
from domain.pipeline.stages import BACKFILL

ORIGINAL = "original"


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Photos that are not deleted, bytes that are stored, and jobs that have not ended."""

    photos: int = 0
    bytes: int = 0
    jobs: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            photos=self.photos + other.photos,
            bytes=self.bytes + other.bytes,
            jobs=self.jobs + other.jobs,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            photos=self.photos - other.photos,
            bytes=self.bytes - other.bytes,
            jobs=self.jobs - other.jobs,
        )


NOTHING = Usage()


class Superseded(msgspec.Struct, frozen=True, kw_only=True):
    """A rendition that a later job has replaced; ``remove_at`` is None where nobody has said."""

    file_size: int
    remove_at: str | None = None


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one photo and whether it and its job count.

    ``keys`` and ``sizes`` are those of the current files by name, ``superseded`` those that are
    still stored, by key. ``runs`` is false for a backfill: operators ask for those, not the client.
    """

    keys: dict[str, str]
    sizes: dict[str, int]
    superseded: dict[str, Superseded] = {}
    runs: bool = True
    deleted: bool = False
    erased: bool = False

    @property
    def usage(self) -> Usage:
        if self.erased:
            return NOTHING
        superseded = sum(each.file_size for each in self.superseded.values())
        return Usage(
            photos=0 if self.deleted else 1,
            bytes=sum(self.sizes.values()) + superseded,
            jobs=1 if self.runs and not self.deleted else 0,
        )


def fold(holding: Holding | None, data: e.Data) -> Holding | None:
    """The holding after an event of its photo; None for one that was never uploaded."""
    if isinstance(data, e.PhotoUploaded):
        return begin(data)
    return None if holding is None else evolve(holding, data)


def begin(data: e.PhotoUploaded) -> Holding:
    return Holding(keys={ORIGINAL: data.key}, sizes={ORIGINAL: data.file_size})


def evolve(holding: Holding, data: e.Data) -> Holding:
    """The holding after an event of its photo."""
    replace = msgspec.structs.replace
    match data:
        case e.ThumbnailGenerated():
            return _name(holding, (data.thumbnail,))
        case e.StageCompleted():
            return _name(holding, data.renditions)
        case e.RenditionsSuperseded():
            due = {
                file.key: replace(holding.superseded[file.key], remove_at=data.remove_at)
                for file in data.files
                if file.key in holding.superseded
            }
            return replace(holding, superseded={**holding.superseded, **due})
        case e.RenditionsRemoved():
            gone = {file.key for file in data.files}
            left = {key: each for key, each in holding.superseded.items() if key not in gone}
            return replace(holding, superseded=left)
        case e.ProcessingRequested():
            return replace(holding, runs=not data.pipeline.startswith(BACKFILL))
        case e.ProcessingCompleted() | e.ProcessingFailed():
            return replace(holding, runs=False)
        case e.PhotoDeleted():
            return replace(holding, deleted=True)
        case e.PhotoErased():
            return replace(holding, erased=True)
        case _:
            return holding


def replaced(holding: Holding, renditions: Iterable[Rendition]) -> tuple[e.StoredFile, ...]:
    """The current files that are superseded when these renditions are named."""
    return tuple(
        e.StoredFile(key=holding.keys[each.name], file_size=holding.sizes[each.name])
        for each in renditions
        if holding.keys.get(each.name, each.key) != each.key
    )


def supersede(
    holding: Holding, command: RecordStageCompleted
) -> tuple[e.RenditionsSuperseded, ...]:
    """What the renditions of a stage do to those of an earlier job."""
    files = replaced(holding, command.renditions)
    if not files:
        return ()
    return (
        e.RenditionsSuperseded(
            photo_id=command.photo_id,
            job_id=command.job_id,
            files=files,
            remove_at=command.remove_at,
        ),
    )


def remove(holding: Holding, photo_id: str, keys: Iterable[str]) -> tuple[e.RenditionsRemoved, ...]:
    """The removal of those of ``keys`` that are superseded renditions."""
    files = tuple(
        e.StoredFile(key=key, file_size=holding.superseded[key].file_size)
        for key in keys
        if key in holding.superseded
    )
    if holding.deleted or not files:  # the erasure of a deleted photo records all of its files
        return ()
    return (e.RenditionsRemoved(photo_id=photo_id, files=files),)


def _name(holding: Holding, renditions: tuple[Rendition, ...]) -> Holding:
    if not renditions:
        return holding
    before = {
        file.key: Superseded(file_size=file.file_size) for file in replaced(holding, renditions)
    }
    named = {each.name: each.key for each in renditions}
    superseded = {**holding.superseded, **before}
    for key in named.values():  # a file that is named again is superseded no more
        superseded.pop(key, None)
    return msgspec.structs.replace(
        holding,
        keys={**holding.keys, **named},
        sizes={**holding.sizes, **{each.name: each.file_size for each in renditions}},
        superseded=superseded,
    )
