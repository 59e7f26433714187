"""What every stage is: bytes of a picture in, facts and renditions out, or a reason why not."""

import msgspec

from domain.photo.results import Result
from domain.pipeline.failures import Category


class ImageLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of reading a picture; each has a setting of the same name.

    ``refused_formats`` are names of formats, separated by spaces.
    """

    max_pixels: int = 150_000_000
    max_frames: int = 1_000
    max_parts: int = 500_000
    max_scans: int = 100
    refused_formats: str = ""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How renditions are made. ``name`` stands in the event: a photo says how it was made."""

    longest_edge: int = 1920
    quality: int = 80
    method: int = 4

    @property
    def name(self) -> str:
        return f"webp-{self.longest_edge}-q{self.quality}"


class StageContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage may know beside the picture: the settings of the process it runs in."""

    limits: ImageLimits = ImageLimits()
    recipe: Recipe = Recipe()


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A rendition in memory: not yet stored, so without key and digest."""

    name: str
    mime_type: str
    width: int
    height: int
    data: bytes


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage gives back: facts for the log, pictures for the blobs.

    ``seconds`` is how long a decoder worked on it, in processor time.
    """

    result: Result
    renditions: tuple[Made, ...] = ()
    seconds: float = 0.0


class StageFailure(Exception):
    """A stage could not do its work; ``category`` decides what happens to the photo.

    ``seconds`` is how long a decoder worked on it, in processor time.
    """

    seconds = 0.0

    def __init__(self, category: Category, code: str, message: str) -> None:
        super().__init__(message)
        self.category = category
        self.code = code
        self.message = message


class BadImage(StageFailure):
    """The bytes are not a picture that we can or want to read."""

    def __init__(self, code: str, message: str, category: Category = Category.DATA) -> None:
        super().__init__(category, code, message)
