"""Validation: the file is the picture it says it is, within bounds, and every line was decoded.

The check itself is loading the picture, which any stage does that has to; this one records it.
"""

from domain.photo.results import ValidationResult
from handlers.imaging.picture import Picture
from handlers.stage import Output, StageContext


def run(picture: Picture, _context: StageContext) -> Output:
    """What was found. A damaged photo of which something can be seen goes on, with a warning."""
    return Output(
        result=ValidationResult(
            format=picture.format,
            mime_type=picture.mime_type,
            width=picture.width,
            height=picture.height,
            frames=picture.frames,
            damaged=picture.damaged,
            warning=picture.warning,
        )
    )
