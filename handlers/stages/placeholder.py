"""Placeholder: a BlurHash, about thirty characters that a client draws until the picture loads."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import blurhash  # pyright: ignore[reportMissingTypeStubs]
from PIL import Image

from domain.photo.results import PlaceholderResult
from handlers.imaging.picture import Picture, fit
from handlers.stage import Output, StageContext

COMPONENTS = 12
"""About how many waves describe the picture, divided between its edges by their lengths."""

SOURCE_EDGE = 32
"""Enough pixels for waves this long: more would only add time."""

_Pixel = Sequence[int]

# Pure Python: the same result on every machine. It takes 1.4 ms for 32 pixels.
_encode = cast(
    "Callable[[Sequence[Sequence[_Pixel]], int, int], str]",
    blurhash.encode,  # pyright: ignore[reportUnknownMemberType]
)


def run(picture: Picture, _context: StageContext) -> Output:
    """Return the BlurHash of the picture on a white background."""
    image = _on_white(fit(picture.image, SOURCE_EDGE))
    text = _encode(rows(image), *components(image.width, image.height))
    return Output(result=PlaceholderResult(blurhash=text))


def components(width: int, height: int) -> tuple[int, int]:
    """Return the waves along each edge: 4 by 3 for a photo, 3 by 4 for a portrait; 1 to 9 each."""
    return (
        min(9, max(1, round(math.sqrt(COMPONENTS * width / height)))),
        min(9, max(1, round(math.sqrt(COMPONENTS * height / width)))),
    )


def rows(image: Image.Image) -> list[list[_Pixel]]:
    """Return rows of pixels, each as red, green and blue from 0 to 255."""
    data, width = image.convert("RGB").tobytes(), 3 * image.width
    rows = [data[at : at + width] for at in range(0, len(data), width)]
    return [[row[at : at + 3] for at in range(0, width, 3)] for row in rows]


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
