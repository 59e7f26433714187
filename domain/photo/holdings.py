"""Count one photo towards the quotas of its client, folded from its events.

A command adds to the client's usage what its photo counts after the command's events, minus what it
counted before.
"""

from collections.abc import Iterable, Mapping

import msgspec

from domain.clients.usage import NOTHING, Usage
from domain.photo import events as e
from domain.photo.commands import RecordStageCompleted
from domain.photo.results import ORIGINAL, Rendition
from domain.pipeline.stages import BACKFILL


class Superseded(msgspec.Struct, frozen=True, kw_only=True):
    """A rendition that a later job has replaced; ``remove_at`` is None if no event has set it."""

    file_size: int
    remove_at: str | None = None


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one photo, and whether the photo and its job count.

    ``keys`` and ``sizes`` describe the current files by name; ``superseded`` holds the superseded
    renditions that are still stored, by key. ``runs`` is true while a job runs that counts: a
    backfill does not, because operators request it, not the client.
    """

    keys: dict[str, str]
    sizes: dict[str, int]
    superseded: dict[str, Superseded] = {}
    runs: bool = True
    deleted: bool = False
    erased: bool = False

    @property
    def usage(self) -> Usage:
        return _usage(self)


COUNTED = frozenset(
    (
        e.PhotoUploaded,
        e.ThumbnailGenerated,
        e.StageCompleted,
        e.RenditionsSuperseded,
        e.RenditionsRemoved,
        e.ProcessingRequested,
        e.ProcessingCompleted,
        e.ProcessingFailed,
        e.PhotoDeleted,
        e.PhotoErased,
    )
)
"""The events that change a holding."""


def fold(holding: Holding | None, data: e.Data) -> Holding | None:
    """Return the holding after an event of its photo; None if the photo was never uploaded."""
    if isinstance(data, e.PhotoUploaded):
        return begin(data)
    return None if holding is None else evolve(holding, data)


def begin(data: e.PhotoUploaded) -> Holding:
    """Return the holding of a photo that has just been uploaded."""
    return Holding(keys={ORIGINAL: data.key}, sizes={ORIGINAL: data.file_size})


def evolve(holding: Holding, data: e.Data) -> Holding:
    """Return the holding after an event of its photo."""
    return evolve_all(holding, (data,))


def _usage(holding: "Holding | Evolving") -> Usage:
    if holding.erased:
        return NOTHING
    stored = sum(holding.sizes.values())
    if holding.superseded:
        stored += sum(each.file_size for each in holding.superseded.values())
    return Usage(
        photos=0 if holding.deleted else 1,
        bytes=stored,
        jobs=1 if holding.runs and not holding.deleted else 0,
    )


def evolve_all(holding: Holding, events: Iterable[e.Data]) -> Holding:
    """Return the holding after events of its photo, in order."""
    evolving = Evolving(holding)
    for data in events:
        evolving.apply(data)
    return evolving.holding


class Evolving:
    """A holding that the events of its photo change in place, one after the other."""

    def __init__(self, holding: Holding) -> None:
        self.keys, self.sizes = dict(holding.keys), dict(holding.sizes)
        self.superseded = dict(holding.superseded)
        self.runs, self.deleted, self.erased = holding.runs, holding.deleted, holding.erased

    @property
    def holding(self) -> Holding:
        return Holding(
            keys=self.keys,
            sizes=self.sizes,
            superseded=self.superseded,
            runs=self.runs,
            deleted=self.deleted,
            erased=self.erased,
        )

    @property
    def usage(self) -> Usage:
        return _usage(self)

    def apply(self, data: e.Data) -> None:
        match data:
            case e.ThumbnailGenerated():
                self._add((data.thumbnail,))
            case e.StageCompleted():
                self._add(data.renditions)
            case e.ProcessingCompleted() | e.ProcessingFailed():
                self.runs = False
            case e.ProcessingRequested():
                self.runs = not data.pipeline.startswith(BACKFILL)
            case e.RenditionsSuperseded():
                self.superseded.update(_due(data, self.superseded))
            case e.RenditionsRemoved():
                for file in data.files:
                    self.superseded.pop(file.key, None)
            case e.PhotoDeleted():
                self.deleted = True
            case e.PhotoErased():
                self.erased = True
            case _:
                pass

    def _add(self, renditions: Iterable[Rendition]) -> None:
        """Make the renditions current, and supersede those that they replace."""
        for each in renditions:
            before = self.keys.get(each.name, each.key)
            if before != each.key:
                self.superseded[before] = Superseded(file_size=self.sizes[each.name])
            self.keys[each.name], self.sizes[each.name] = each.key, each.file_size
        if self.superseded:  # a file that becomes current again is no longer superseded
            for each in renditions:
                self.superseded.pop(each.key, None)


def replaced(holding: Holding, renditions: Iterable[Rendition]) -> tuple[e.StoredFile, ...]:
    """Return the current files that these renditions supersede."""
    return tuple(
        e.StoredFile(key=holding.keys[each.name], file_size=holding.sizes[each.name])
        for each in renditions
        if holding.keys.get(each.name, each.key) != each.key
    )


def supersede(
    holding: Holding, command: RecordStageCompleted
) -> tuple[e.RenditionsSuperseded, ...]:
    """Return the event for the files of earlier jobs that the stage replaces, if there are any."""
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
    """Return the event for the ``keys`` that are superseded renditions, if there are any."""
    files = tuple(
        e.StoredFile(key=key, file_size=holding.superseded[key].file_size)
        for key in keys
        if key in holding.superseded
    )
    if holding.deleted or not files:  # the erasure of a deleted photo covers all of its files
        return ()
    return (e.RenditionsRemoved(photo_id=photo_id, files=files),)


def _due(
    data: e.RenditionsSuperseded, superseded: Mapping[str, Superseded]
) -> dict[str, Superseded]:
    """Return the superseded renditions that the event names, with the time of their removal."""
    return {
        file.key: msgspec.structs.replace(superseded[file.key], remove_at=data.remove_at)
        for file in data.files
        if file.key in superseded
    }
