"""Read GIF; around a first frame that is smaller than the canvas, the picture is transparent.

Pillow shows the first colour there, and no browser the background colour (GIF89a, 18).
"""

import io

from PIL import GifImagePlugin, Image

from handlers.imaging import damage, frames
from handlers.imaging.attempt import Attempt, Decoded
from handlers.imaging.colours import conversion


def read(attempt: Attempt) -> Decoded:
    """Decode the first frame, at its place on the canvas. Raises as a decoder."""
    image = GifImagePlugin.GifImageFile(io.BytesIO(attempt.data))
    attempt.check_size(*image.size)
    attempt.admit_opened(image)
    count = frames.count(image, attempt.data, attempt.context.limits.max_frames)
    attempt.check_frames(count)
    canvas = (0, 0, *image.size)
    frame = image.tile[0].extents if image.tile else canvas
    image.load()
    return Decoded(
        image=conversion.to_eight_bits(image) if frame == canvas else _on_canvas(image, frame),
        size=image.size,
        box=canvas,
        frames=count,
        profile=None,
        damage=damage.BROKEN if attempt.lenient else None,
    )


def _on_canvas(image: Image.Image, frame: tuple[int, int, int, int] | None) -> Image.Image:
    canvas = Image.new("RGBA", image.size)
    part = image.crop(frame)
    part.info = image.info
    canvas.paste(conversion.to_eight_bits(part).convert("RGBA"), frame)
    return canvas
