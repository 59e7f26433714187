"""The stages a worker can run.

``ops/guides/extending.md`` tells how to add one.
"""

from collections.abc import Callable
from importlib import import_module

import msgspec

from domain.photo.results import (
    ORIGINAL,
    MetadataResult,
    OptimizationResult,
    PlaceholderResult,
    Result,
    ThumbnailsResult,
    ValidationResult,
)
from handlers.imaging.picture import Picture
from handlers.stage import Output, StageContext
from handlers.stages import metadata, optimization, placeholder, thumbnails, validation


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """How to run one stage. ``needs`` names its input: the original or a rendition of the photo."""

    needs: str = ORIGINAL
    result: type[Result]
    run: Callable[[Picture, StageContext], Output]


STAGES: dict[str, Stage] = {
    "validation": Stage(result=ValidationResult, run=validation.run),
    "metadata": Stage(result=MetadataResult, run=metadata.run),
    "thumbnails": Stage(result=ThumbnailsResult, run=thumbnails.run),
    "optimization": Stage(result=OptimizationResult, run=optimization.run),
    "placeholder": Stage(needs="thumbnail-150", result=PlaceholderResult, run=placeholder.run),
}


def find_stages(name: str) -> dict[str, Stage]:
    """Import the table that ``module:TABLE`` names.

    A worker passes this name to its decoder processes, so that all of them use the same table.
    """
    module, _, table = name.partition(":")
    return getattr(import_module(module), table)
