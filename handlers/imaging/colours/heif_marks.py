"""Find the colour space of a HEIF or AVIF picture, and whether it has an HDR gain map.

The decoder applies the matrix and the range of ``nclx``; primaries and transfer function are left
to its caller (MIAF, ISO/IEC 23000-22, 7.3.6.4; the box: ISO/IEC 14496-12, 12.1.5).
"""

import struct
from collections.abc import Iterator

import msgspec

from handlers.imaging import heif_boxes
from handlers.imaging.colours import coding
from handlers.imaging.colours.coding import Coding
from handlers.imaging.heif_boxes import Box

_PROFILES = (b"prof", b"rICC")
_SAMPLE_ENTRY_BYTES = 78
"""The fields of a VisualSampleEntry before its boxes (ISO/IEC 14496-12, 12.1.3)."""

_UNSPECIFIED = 2
_FULL_BOX = 4

GAIN_MAP_URNS = (
    b"urn:com:apple:photo:2020:aux:hdrgainmap",
    b"urn:iso:std:iso:ts:21496:-1",
)


class Colours(msgspec.Struct, frozen=True):
    """What the boxes say. If a file has both, the profile counts (ISO/IEC 23008-12, 6.5.5)."""

    profile: bytes | None = None
    coding: Coding | None = None


def of_primary(data: bytes) -> Colours:
    """Return the colours of the primary item, of the items that it is made from, or of a track."""
    primary = heif_boxes.primary_item(data)
    items = () if primary is None else (primary, *heif_boxes.sources(data, primary))
    for item in items:
        found = _of_boxes(data, heif_boxes.item_properties(data, item))
        if found != Colours():
            return found
    return _of_boxes(data, _of_track(data))


def has_gain_map(data: bytes) -> bool:
    """Return whether an item maps the picture to HDR.

    That is an auxiliary picture with the URN of Apple or of ISO, or a derived item ``tmap``
    (ISO 21496-1, annex C).
    """
    if b"tmap" in heif_boxes.item_types(data):
        return True
    container = heif_boxes.find(data, b"meta", b"iprp", b"ipco")
    properties = heif_boxes.boxes(data, container.start, container.end) if container else ()
    return any(
        data.startswith(GAIN_MAP_URNS, box.start + _FULL_BOX, box.end)
        for box in properties
        if box.kind == b"auxC"
    )


def _of_boxes(data: bytes, boxes: Iterator[Box]) -> Colours:
    profile = space = None
    for box in boxes:
        kind = data[box.start : box.start + 4]
        if box.kind != b"colr":
            continue
        if kind in _PROFILES:
            profile = profile or data[box.start + 4 : box.end]
        elif kind == b"nclx" and box.end - box.start >= 8 and space is None:
            primaries, transfer = struct.unpack_from(">HH", data, box.start + 4)
            if (primaries, transfer) != (_UNSPECIFIED, _UNSPECIFIED):
                space = coding.of_code_points(primaries, transfer)
    return Colours(profile, space)


def _of_track(data: bytes) -> Iterator[Box]:
    """Iterate over the boxes of the sample entries of the first track of a sequence."""
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    table = heif_boxes.find(data, *path)
    if table is None:
        return
    for entry in heif_boxes.boxes(data, table.start + 2 * _FULL_BOX, table.end):
        yield from heif_boxes.boxes(data, entry.start + _SAMPLE_ENTRY_BYTES, entry.end)
