"""The files of photos in a batch of events: their renditions, and what they count in quotas.

A deleted photo counts the bytes of its files until they are erased.
"""

from typing import cast

import msgspec

from domain.clients.usage import NOTHING, Usage
from domain.photo import events as e
from domain.photo import holdings
from domain.photo.holdings import Evolving, Holding, Superseded
from domain.photo.results import ORIGINAL, Rendition
from projections.models import renditions
from projections.models.batch import Columns
from store.blobs.interface import original_key
from store.sqlite.connection import Value

_encoder = msgspec.json.Encoder(order="deterministic")
_superseded = msgspec.json.Decoder(dict[str, Superseded])


class _Files:
    """The files of one photo, and what they counted ``before`` the batch."""

    def __init__(
        self,
        client_id: str,
        before: Usage,
        holding: Holding,
        made: dict[str, tuple[str, Rendition]],
    ) -> None:
        self.client_id = client_id
        self.before = before
        self.evolving = Evolving(holding)
        self.made = made
        self.changed = False


class PhotoFiles:
    """Folds events into the columns of ``rows`` that describe the files of photos."""

    def __init__(self, rows: dict[Value, Columns]) -> None:
        self._rows = rows
        self._files: dict[str, _Files] = {}

    def apply(self, data: e.Data, client_id: str) -> None:
        """Apply an event of ``holdings.COUNTED``, before it changes the photo's row."""
        if isinstance(data, e.PhotoUploaded):
            self._files[data.photo_id] = _Files(client_id, NOTHING, holdings.begin(data), {})
            return
        if isinstance(data, e.StageCompleted) and not data.renditions:
            return
        files = self._files.get(data.photo_id) or self._stored(data.photo_id, client_id)
        if files is None:
            return
        files.evolving.apply(data)
        if isinstance(data, e.ThumbnailGenerated):
            files.made[data.thumbnail.name] = data.job_id, data.thumbnail
            files.changed = True
        elif isinstance(data, e.StageCompleted):
            files.made.update((each.name, (data.job_id, each)) for each in data.renditions)
            files.changed = True

    def finish(self) -> dict[str, Usage]:
        """Change the rows; return how much more each client uses, all who have uploaded included.

        A client has a row from its first upload on, whatever becomes of the photo.
        """
        added: dict[str, Usage] = {}
        for photo_id, files in self._files.items():
            holding, client_id = files.evolving, files.client_id
            is_new = files.before is NOTHING
            more = holding.usage if is_new else holding.usage - files.before
            if is_new or more != NOTHING:
                added[client_id] = added.get(client_id, NOTHING) + more
            row = self._rows[photo_id]
            row["runs"], row["erased"] = int(holding.runs), int(holding.erased)
            if holding.erased:
                row["renditions"] = row["superseded"] = None
                continue
            if files.changed:
                row["renditions"] = renditions.encode(photo_id, files.made)
            row["superseded"] = _column(holding.superseded)
        return added

    def _stored(self, photo_id: str, client_id: str) -> _Files | None:
        row = self._rows.get(photo_id)
        if row is None or row["erased"]:
            return None
        made = renditions.decode(photo_id, row["renditions"])
        key = cast("str | None", row["key"]) or original_key(photo_id)
        superseded = cast("str | None", row["superseded"])
        holding = Holding(
            keys={ORIGINAL: key, **{name: each.key for name, (_, each) in made.items()}},
            sizes={
                ORIGINAL: cast("int", row["file_size"]),
                **{name: each.file_size for name, (_, each) in made.items()},
            },
            superseded=_superseded.decode(superseded) if superseded else {},
            runs=bool(row["runs"]),
            deleted=row["deleted_at"] is not None,
        )
        files = self._files[photo_id] = _Files(client_id, holding.usage, holding, made)
        return files


def _column(superseded: dict[str, Superseded]) -> str | None:
    return _encoder.encode(superseded).decode() if superseded else None
