"""Show the largest preview of a RAW file, upright, and say that it is one."""

import msgspec
from PIL import JpegImagePlugin

from domain.photo.results import RAW_PREVIEW, Raw
from handlers.imaging import complexity, exif, heif_boxes, reader
from handlers.imaging.attempt import Attempt, Decoded, Size
from handlers.imaging.raw import kinds, previews
from handlers.imaging.raw.previews import Preview
from handlers.imaging.tiff import directory as directories
from handlers.imaging.tiff import reader as tiff_reader
from handlers.imaging.tiff.directory import Directory
from handlers.stage import BadImage

_ORIENTATION, _LYING = 274, 5
_CANON = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
"""The identifier of the box in which CR3 keeps its directories."""

_FUJI_SENSOR_AT, _FUJI_SENSOR_SIZE = 92, 0x0100
_MAX_FUJI_RECORDS = 1_000


class _Facts(msgspec.Struct, frozen=True):
    """What the file says about the photo beside its preview."""

    tags: exif.Tags | None
    orientation: int | None
    sensor: Size | None


def read(attempt: Attempt) -> Decoded:
    """Decode the largest preview.

    Raises:
        BadImage: ``raw-without-preview``, or as a preview's reader.
    """
    kind = kinds.of(attempt.mime_type)
    first = directories.first(attempt.data)
    preview = previews.largest(attempt.data, first)
    if preview is None:
        message = (
            f"The RAW file ({kind.name}) contains no preview, and developing RAW is not supported. "
            "Export the photo as JPEG or TIFF with the camera's program, and upload that."
        )
        raise BadImage("raw-without-preview", message)
    decoded = _decode(attempt, preview)
    facts = _facts(attempt.data, kind, first)
    turn = decoded.turn if facts.orientation is None else facts.orientation
    shown = decoded.size if turn < _LYING else decoded.size[::-1]
    sensor = facts.sensor
    if sensor is not None and turn >= _LYING:
        sensor = sensor[::-1]
    raw = Raw(
        kind=kind.name,
        rendition=RAW_PREVIEW,
        sensor_width=sensor[0] if sensor else None,
        sensor_height=sensor[1] if sensor else None,
        preview_width=shown[0],
        preview_height=shown[1],
    )
    tags = facts.tags or decoded.tags
    tags = msgspec.structs.replace(tags, main={**tags.main, _ORIENTATION: turn})
    return msgspec.structs.replace(
        decoded, tags=tags, turn=turn, frames=1, original=facts.sensor, raw=raw
    )


def _decode(attempt: Attempt, preview: Preview) -> Decoded:
    if preview.directory is not None:
        return tiff_reader.decode(attempt, preview.directory)
    data = attempt.data[preview.start : preview.end]
    inner = msgspec.structs.replace(
        attempt,
        data=data,
        name="JPEG",
        scans=complexity.check(data, "JPEG", attempt.context.limits),
    )
    decoded = reader.read(inner, JpegImagePlugin.JpegImageFile)
    attempt.pixels = inner.pixels
    return decoded


def _facts(data: bytes, kind: kinds.Kind, first: Directory | None) -> _Facts:
    if first is not None:
        tags = tiff_reader.tags(first)
        orientation = first.number(_ORIENTATION, 1)
        return _Facts(tags, orientation if 1 <= orientation <= 8 else 1, kinds.sensor_size(first))
    if kind.name == "CR3":
        return _of_canon(data)
    return _Facts(None, None, _of_fuji(data))


def _of_canon(data: bytes) -> _Facts:
    """Read the boxes CMT1, CMT2 and CMT4: the main directory, and those for EXIF and GPS."""
    found: dict[bytes, Directory] = {}
    movie = heif_boxes.find(data, b"moov")
    for box in heif_boxes.boxes(data, movie.start, movie.end) if movie else ():
        if box.kind != b"uuid" or data[box.start : box.start + 16] != _CANON:
            continue
        for inner in heif_boxes.boxes(data, box.start + 16, box.end):
            directory = directories.first(data[inner.start : inner.end])
            if directory is not None:
                found[inner.kind] = directory
    main, details, gps = (found.get(name) for name in (b"CMT1", b"CMT2", b"CMT4"))
    tags = exif.Tags(
        main=tiff_reader.tags(main).main if main else {},
        exif=tiff_reader.tags(details).main if details else {},
        gps=tiff_reader.tags(gps).main if gps else {},
    )
    size = (details.number(40962), details.number(40963)) if details else (0, 0)
    return _Facts(tags if found else None, tags.orientation if found else None, _sane(size))


def _of_fuji(data: bytes) -> Size | None:
    """Read the size from the records at the end of a RAF file's header; all are big-endian."""
    at = int.from_bytes(data[_FUJI_SENSOR_AT : _FUJI_SENSOR_AT + 4], "big")
    count = int.from_bytes(data[at : at + 4], "big")
    at += 4
    for _ in range(min(count, _MAX_FUJI_RECORDS)):
        tag, length = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (0, 2))
        if tag == _FUJI_SENSOR_SIZE:
            height, width = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (4, 6))
            return _sane((width, height))
        at += 4 + length
    return None


def _sane(size: Size) -> Size | None:
    return size if min(size) > 0 else None
