"""Recognize RAW files by their content, since most begin like any TIFF."""

import itertools
from collections.abc import Iterator

import msgspec

from handlers.imaging.tiff import directory as directories
from handlers.imaging.tiff.directory import Directory

NAME = "RAW"

_KINDS = {
    "image/x-adobe-dng": "DNG",
    "image/x-nikon-nef": "NEF",
    "image/x-canon-cr2": "CR2",
    "image/x-canon-cr3": "CR3",
    "image/x-sony-arw": "ARW",
    "image/x-fuji-raf": "RAF",
    "image/x-olympus-orf": "ORF",
    "image/x-panasonic-rw2": "RW2",
    "image/x-pentax-pef": "PEF",
    "image/x-samsung-srw": "SRW",
    "image/x-raw": "RAW",
}
# By the beginning of the field Make, for RAW files that begin like TIFF.
_MAKERS = {
    b"NIKON": "image/x-nikon-nef",
    b"SONY": "image/x-sony-arw",
    b"PENTAX": "image/x-pentax-pef",
    b"RICOH": "image/x-pentax-pef",
    b"CANON": "image/x-canon-cr2",
    b"OLYMPUS": "image/x-olympus-orf",
    b"PANASONIC": "image/x-panasonic-rw2",
    b"SAMSUNG": "image/x-samsung-srw",
}

_MAKE, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 271, 262, 330, 50706
_WIDTH, _LENGTH = 256, 257
_EXIF_DIRECTORY, _EXIF_WIDTH, _EXIF_LENGTH = 34665, 40962, 40963
_SENSOR_WIDTH, _SENSOR_LENGTH = 2, 3  # of Panasonic

SENSOR_DATA = {32803, 34892}
"""Photometric interpretations: a colour filter array, and linear raw (DNG)."""

_MAX_DIRECTORIES = 64
_MAX_DEPTH = 3


class Kind(msgspec.Struct, frozen=True):
    """A kind of RAW file: its usual extension, in capitals, and its MIME type."""

    name: str
    mime_type: str


def of(mime_type: str) -> Kind:
    """Return the kind of RAW file that has this MIME type."""
    return Kind(_KINDS[mime_type], mime_type)


def within_tiff(data: bytes) -> Kind | None:
    """Return the kind of RAW file that begins like TIFF; None if the file is an ordinary TIFF."""
    first = directories.first(data)
    if first is None:
        return None
    if _DNG_VERSION in first.entries:
        return of("image/x-adobe-dng")
    if not any(_is_sensor_data(each) for each in every_directory(first)):
        return None
    make = first.raw(_MAKE).upper()
    found = (mime_type for maker, mime_type in _MAKERS.items() if make.startswith(maker))
    return of(next(found, "image/x-raw"))


def every_directory(first: Directory) -> Iterator[Directory]:
    """Iterate over the directories of the chain and those below them, each once."""
    seen: set[int] = set()
    yield from itertools.islice(_with_those_below(first, seen, 0), _MAX_DIRECTORIES)


def _with_those_below(first: Directory, seen: set[int], depth: int) -> Iterator[Directory]:
    for directory in directories.chain(first):
        if directory.offset in seen:
            return
        seen.add(directory.offset)
        yield directory
        below_it = directory.numbers(_SUB_DIRECTORIES, _MAX_DIRECTORIES)
        for offset in below_it if depth < _MAX_DEPTH else ():
            below = None if offset in seen else directory.at(offset)
            if below is not None:
                yield from _with_those_below(below, seen, depth + 1)


def sensor_size(first: Directory) -> tuple[int, int] | None:
    """Return width and height of the sensor's data, in pixels; None if the file does not say."""
    sizes = [
        (each.number(_WIDTH), each.number(_LENGTH))
        for each in every_directory(first)
        if _is_sensor_data(each)
    ]
    sizes.append((first.number(_SENSOR_WIDTH), first.number(_SENSOR_LENGTH)))
    exif = first.at(first.number(_EXIF_DIRECTORY))
    if exif is not None:
        sizes.append((exif.number(_EXIF_WIDTH), exif.number(_EXIF_LENGTH)))
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return (width, height) if width > 0 and height > 0 else None


def _is_sensor_data(directory: Directory) -> bool:
    return directory.number(_PHOTOMETRIC, -1) in SENSOR_DATA
