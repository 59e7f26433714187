"""Read the EXIF tags of a picture, uninterpreted."""

from collections.abc import Mapping
from typing import Any

import msgspec
from PIL import ExifTags, Image

ORIENTATION = ExifTags.Base.Orientation


class Tags(msgspec.Struct, frozen=True, kw_only=True):
    """Values by tag number, for the main directory and those for EXIF and GPS.

    ``interoperability`` is the value of InteroperabilityIndex, empty without one.
    """

    main: dict[int, Any] = {}
    exif: dict[int, Any] = {}
    gps: dict[int, Any] = {}
    interoperability: bytes = b""

    @property
    def orientation(self) -> int:
        """1 to 8 as in TIFF 6.0, tag 274; anything else in the file counts as 1, upright."""
        value = self.main.get(ORIENTATION)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1


def read(image: Image.Image) -> Tags:
    """Read the tags of an opened picture; a directory that cannot be read is empty.

    Call this before the picture is decoded: some decoders close the file, and some turn the
    picture upright and drop the orientation.
    """
    try:
        exif = image.getexif()
        main = dict(exif)
    # The parser may raise anything on broken bytes, and a photo is worth more than its tags.
    except Exception:
        return Tags()
    return Tags(
        main=main,
        exif=_directory(exif, ExifTags.IFD.Exif),
        gps=_directory(exif, ExifTags.IFD.GPSInfo),
        interoperability=_interoperability(exif),
    )


def _directory(exif: Image.Exif, directory: int) -> dict[int, Any]:
    try:
        found: Mapping[int, Any] = exif.get_ifd(directory)
        return dict(found)
    except Exception:
        return {}


def _interoperability(exif: Image.Exif) -> bytes:
    value = _directory(exif, ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    if isinstance(value, str):
        return value.encode("latin-1", "replace")
    return value if isinstance(value, bytes) else b""
