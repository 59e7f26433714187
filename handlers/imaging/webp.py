"""Encode renditions as WebP."""

import io

from PIL import Image

from handlers.stage import Made, Recipe

MIME_TYPE = "image/webp"


def encode(image: Image.Image, name: str, recipe: Recipe) -> Made:
    """Encode as WebP with nothing but the picture: no EXIF, no position, no colour profile."""
    buffer = io.BytesIO()
    image.save(
        buffer,
        "WEBP",
        quality=recipe.quality,
        method=recipe.method,
        exif=b"",
        xmp=b"",
        icc_profile=b"",
    )
    return Made(
        name=name,
        mime_type=MIME_TYPE,
        width=image.width,
        height=image.height,
        data=buffer.getvalue(),
    )
