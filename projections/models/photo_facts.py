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


def _requested(data: e.ProcessingRequested, _: str) -> Columns:
    return {
        "job_id": data.job_id,
        "processing_error": None,
        "processing_started_at": None,
        "processing_completed_at": None,
    }


def _facts(data: e.StageCompleted, _: str) -> Columns:
    """Return a stage's result as columns; skip a result that does not have the stage's shape."""
    try:
        match data.stage:
            case "validation":
                found = msgspec.convert(data.result, ValidationResult)
                return {"damaged": int(found.damaged), "width": found.width, "height": found.height}
            case "metadata":
                metadata = msgspec.convert(data.result, _Metadata)
                return {
                    "processing_metadata": msgspec.json.encode(metadata).decode(),
                    "dated": timeline.dated(metadata.taken_at, metadata.taken_at_subsecond_ms),
                }
            case "placeholder":
                return {"blurhash": msgspec.convert(data.result, PlaceholderResult).blurhash}
            case _:
                return {}
    except msgspec.ValidationError as error:
        logger.warning(
            "photo %s: skipped the invalid result of %s: %s", data.photo_id, data.stage, error
        )
        return {}


_CHANGES: dict[type[e.AnyEvent], Callable[[Any, str], Columns]] = {
    e.StageCompleted: _facts,
    e.ProcessingRequested: _requested,
    e.ProcessingStarted: lambda _, at: {"processing_started_at": at},
    e.ProcessingCompleted: lambda _, at: {"processing_completed_at": at},
    e.ProcessingFailed: lambda data, at: {
        "processing_completed_at": at,
        "processing_error": data.error,
    },
    e.PhotoDeleted: lambda _, at: {"deleted_at": at},
}

CHANGING = frozenset(_CHANGES)
"""The events that change more than the version of a photo, apart from its upload."""


def changed_by(data: e.AnyEvent, at: str) -> Columns:
    """Return the columns that an event of ``CHANGING`` changes."""
    kind = type(data)
    changes = _CHANGES[kind](data, at)
    status = STATUS_AFTER.get(kind)
    if status is not None:
        changes["processing_status"] = status
    return changes
