"""Work on single bands of a picture with Pillow's C code."""

from PIL import Image


def mapped(image: Image.Image, table: bytes) -> Image.Image:
    """Replace each value by its entry: 256 for mode L, 65536 for mode I; return mode L."""
    return image.point(table, "L")  # pyright: ignore[reportUnknownMemberType] (names NumPy)
