"""Validation: the content is a known format, within the limits, and every line was decoded.

Loading the picture is the check, and any stage that needs the picture loads it; this stage records
the result.
"""

from domain.photo.results import ValidationResult
from handlers.imaging.picture import Picture
from handlers.stage import Output, StageContext


def run(picture: Picture, _context: StageContext) -> Output:
    """Return what was found. A damaged but viewable photo passes, with a warning."""
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
