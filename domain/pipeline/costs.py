"""How long a task is expected to keep a decoder: what its client pays for it when it is claimed.

An estimate needs no picture: before validation the size of the file is all that is known, after it
the number of pixels. It may be far off, so what a run really took is settled afterwards. The
figures are milliseconds of one core, rounded, over camera photos of 9 to 16 megapixels.
"""

from collections.abc import Collection
from typing import Any

VALIDATION_MS_A_MEGABYTE = 60

FULL_MEGAPIXELS = 2.5
"""Stages after validation work on a picture of at most about so many; decoding is validation's."""

FULL_MS: dict[str, int] = {
    "validation": 180,
    "metadata": 5,
    "thumbnails": 90,
    "optimization": 350,
    "placeholder": 10,
}
"""Of an ordinary photo, and of one of which nothing is known."""

UNKNOWN_STAGE_MS = 100
ERASURE_MS = 10
LEAST_MS = 1


def validation_ms(file_size: int) -> int:
    return LEAST_MS + round(VALIDATION_MS_A_MEGABYTE * file_size / 1e6)


def stages_ms(stages: Collection[str]) -> int:
    """Of stages whose picture is not known."""
    return sum(FULL_MS.get(stage, UNKNOWN_STAGE_MS) for stage in stages)


def pixels_ms(stage: str, result: dict[str, Any]) -> int:
    """Of a stage that comes after the one with this result; all of it if that names no size."""
    full = FULL_MS.get(stage, UNKNOWN_STAGE_MS)
    match result:
        case {"width": int(width), "height": int(height)}:
            share = min(1.0, width * height / 1e6 / FULL_MEGAPIXELS)
            return LEAST_MS + round(full * share)
        case _:
            return full
