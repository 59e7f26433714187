"""Optimization: the photo as a WebP for viewing on a screen."""

from domain.photo.results import OptimizationResult
from handlers.imaging import webp
from handlers.imaging.picture import Picture, fit
from handlers.stage import Output, StageContext


def run(picture: Picture, context: StageContext) -> Output:
    """Return one rendition, ``optimized``, made by the recipe that the result names."""
    image = fit(picture.image, context.recipe.longest_edge)
    return Output(
        result=OptimizationResult(recipe=context.recipe.name),
        renditions=(webp.encode(image, "optimized", context.recipe),),
    )
