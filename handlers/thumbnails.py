"""Thumbnails: small WebP pictures for grids and previews."""

from domain.results import ThumbnailsResult
from handlers import webp
from handlers.picture import Picture, fit
from handlers.stage import Context, Made, Output

SIZES = (150, 300, 600)
"""Longest edges, in pixels."""


def run(picture: Picture, context: Context) -> Output:
    """One rendition a size, ``thumbnail-150`` and so on; a smaller photo is not enlarged."""
    image = picture.image
    made: list[Made] = []
    for size in reversed(SIZES):
        image = fit(image, size)
        made.append(webp.encode(image, f"thumbnail-{size}", context.recipe))
    return Output(result=ThumbnailsResult(sizes=SIZES), renditions=tuple(reversed(made)))
