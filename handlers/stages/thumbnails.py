"""Thumbnails: small WebP pictures for grids and previews."""

from domain.photo.results import ThumbnailsResult
from handlers.imaging import webp
from handlers.imaging.picture import Picture, fit
from handlers.stage import Made, Output, StageContext

SIZES = (150, 300, 600)
"""Longest edges, in pixels."""


def run(picture: Picture, context: StageContext) -> Output:
    """Return one rendition per size, ``thumbnail-150`` and so on; never enlarge a smaller photo."""
    image = picture.image
    made: list[Made] = []
    for size in reversed(SIZES):
        image = fit(image, size)
        made.append(webp.encode(image, f"thumbnail-{size}", context.recipe))
    return Output(result=ThumbnailsResult(sizes=SIZES), renditions=tuple(reversed(made)))
