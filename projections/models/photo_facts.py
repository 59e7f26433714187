"""Which columns of ``photos`` an event changes."""

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from domain.photo import events as e
from domain.photo.results import (
    Camera,
    Description,
    Exposure,
    Gps,
    MetadataResult,
    PlaceholderResult,
    ValidationResult,
)
from domain.photo.status import STATUS_AFTER
from projections.models import timeline
from projections.models.batch import Columns

logger = logging.getLogger("photolog.projector")


class _Camera(Camera, frozen=True, kw_only=True, omit_defaults=True):
    pass


class _Exposure(Exposure, frozen=True, kw_only=True, omit_defaults=True):
    pass


class _Gps(Gps, frozen=True, kw_only=True, omit_defaults=True):
    pass


class _Description(Description, frozen=True, kw_only=True, omit_defaults=True):
    pass


class _Metadata(MetadataResult, frozen=True, kw_only=True, omit_defaults=True):
    """The facts that are known: most of them are not, and readers take them for null."""

    camera: _Camera = _Camera()
    exposure: _Exposure = _Exposure()
    gps: _Gps | None = None
    description: _Description = _Description()


DATED_LETTERS = 23
"""How much of a UTC time is the local time of ``dated``: all but its ``Z``."""


def _request(row: Columns, data: e.ProcessingRequested, _: str) -> None:
    row["processing_status"] = STATUS_AFTER[e.ProcessingRequested]
    row["job_id"] = data.job_id
    row["processing_error"] = None
    row["processing_started_at"] = None
    row["processing_completed_at"] = None


def _start(row: Columns, _: e.ProcessingStarted, at: str) -> None:
    row["processing_status"] = STATUS_AFTER[e.ProcessingStarted]
    row["processing_started_at"] = at


def _complete(row: Columns, _: e.ProcessingCompleted, at: str) -> None:
    row["processing_status"] = STATUS_AFTER[e.ProcessingCompleted]
    row["processing_completed_at"] = at


def _fail(row: Columns, data: e.ProcessingFailed, at: str) -> None:
    row["processing_status"] = STATUS_AFTER[e.ProcessingFailed]
    row["processing_completed_at"] = at
    row["processing_error"] = data.error


def _delete(row: Columns, _: e.PhotoDeleted, at: str) -> None:
    row["deleted_at"] = at


def _learn(row: Columns, data: e.StageCompleted, _: str) -> None:
    """Note a stage's result; skip a result that does not have the stage's shape."""
    note = _RESULTS.get(data.stage)
    if note is None:
        return
    try:
        note(row, data.result)
    except msgspec.ValidationError as error:
        logger.warning(
            "photo %s: skipped the invalid result of %s: %s", data.photo_id, data.stage, error
        )


def _validation(row: Columns, result: dict[str, Any]) -> None:
    found = msgspec.convert(result, ValidationResult)
    row["damaged"] = int(found.damaged)
    row["width"], row["height"] = found.width, found.height


def _metadata(row: Columns, result: dict[str, Any]) -> None:
    found = msgspec.convert(result, _Metadata)
    row["processing_metadata"] = _json.encode(found).decode()
    taken = timeline.dated(found.taken_at, found.taken_at_subsecond_ms)
    row["dated"] = taken or str(row["uploaded_at"])[:DATED_LETTERS]


def _placeholder(row: Columns, result: dict[str, Any]) -> None:
    row["blurhash"] = msgspec.convert(result, PlaceholderResult).blurhash


_json = msgspec.json.Encoder()

_RESULTS: dict[str, Callable[[Columns, dict[str, Any]], None]] = {
    "validation": _validation,
    "metadata": _metadata,
    "placeholder": _placeholder,
}

CHANGES: dict[type[e.AnyEvent], Callable[[Columns, Any, str], None]] = {
    e.StageCompleted: _learn,
    e.ProcessingRequested: _request,
    e.ProcessingStarted: _start,
    e.ProcessingCompleted: _complete,
    e.ProcessingFailed: _fail,
    e.PhotoDeleted: _delete,
}
"""How the events that change more than the version of a photo change its row; called with the
row, the data and the time of the event. The upload makes the row."""
