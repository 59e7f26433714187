"""Optimization: the photo as a WebP for looking at on a screen."""

from domain.results import OptimizationResult
from handlers import webp
from handlers.picture import Picture, fit
from handlers.stage import Context, Output


def run(picture: Picture, context: Context) -> Output:
    """One rendition, ``optimized``, made by the recipe that the result names."""
    image = fit(picture.image, context.recipe.longest_edge)
    return Output(
        result=OptimizationResult(recipe=context.recipe.name),
        renditions=(webp.encode(image, "optimized", context.recipe),),
    )
