"""Estimate how long a task occupies a decoder: its client pays this when the task is claimed.

An estimate does not read the picture. Before validation only the file's size is known, after it the
number of pixels. The estimate may be far off, so the actual time of a run is settled afterwards.
The figures are rounded milliseconds of one core, measured with camera photos of 9 to 16 megapixels.
"""

from collections.abc import Collection
from typing import Any

VALIDATION_MS_A_MEGABYTE = 60

FULL_MEGAPIXELS = 2.5
"""Stages after validation work on a picture of at most about this size; validation decodes it."""

FULL_MS: dict[str, int] = {
    "validation": 180,
    "metadata": 5,
    "thumbnails": 90,
    "optimization": 350,
    "placeholder": 10,
}
"""The cost of each stage for an ordinary photo, and for one of unknown size."""

UNKNOWN_STAGE_MS = 100
ERASURE_MS = 10
LEAST_MS = 1


def validation_ms(file_size: int) -> int:
    """Estimate the validation of a file of ``file_size`` bytes."""
    return LEAST_MS + round(VALIDATION_MS_A_MEGABYTE * file_size / 1e6)


def stages_ms(stages: Collection[str]) -> int:
    """Estimate stages whose picture is of unknown size."""
    return sum(FULL_MS.get(stage, UNKNOWN_STAGE_MS) for stage in stages)


def pixels_ms(stage: str, result: dict[str, Any]) -> int:
    """Estimate the stage after the one with ``result``; at full cost if that has no size."""
    full = FULL_MS.get(stage, UNKNOWN_STAGE_MS)
    match result:
        case {"width": int(width), "height": int(height)}:
            share = min(1.0, width * height / 1e6 / FULL_MEGAPIXELS)
            return LEAST_MS + round(full * share)
        case _:
            return full
