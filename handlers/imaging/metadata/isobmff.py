"""Read the items of a HEIF or AVIF file that hold metadata, and the properties of its picture.

Sources: ISO/IEC 14496-12 (boxes, 8.11 for items), ISO/IEC 23008-12 (HEIF), AVIF 1.1. Every count
is bounded, and a box or an extent outside its parent is ignored.
"""

from collections.abc import Iterator

import msgspec

from handlers.imaging import heif_boxes

MAX_ITEMS = 20_000
"""Also of the parts of all items together."""

MAX_ITEM_BYTES = 4 << 20

_Span = tuple[int, int]
"""Begin and end of the content of a box, in the file."""


class Items(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says of its primary picture.

    ``orientation`` is that of the transformations of the picture (``irot``, ``imir``) as EXIF would
    number it; None if there are none.
    """

    exif: bytes = b""
    xmp: bytes = b""
    icc: bytes = b""
    bit_depth: int | None = None
    orientation: int | None = None


def boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, _Span]]:
    """Yield the type and the content of each box between ``begin`` and ``end``."""
    for box in heif_boxes.boxes(data, begin, end):
        if box.start <= box.end:
            yield box.kind, (box.start, box.end)


def read(data: bytes) -> Items:
    """Return the metadata of the file; empty if it has no readable ``meta`` box."""
    meta = _find(data, (0, len(data)), b"meta")
    if meta is None or meta[0] + 4 > meta[1]:
        return Items()
    parts: dict[bytes, _Span] = {}
    for kind, span in boxes(data, meta[0] + 4, meta[1]):
        parts.setdefault(kind, span)
    kinds = dict(_kinds(data, parts.get(b"iinf")))
    places = _Places(data, parts.get(b"iloc"), parts.get(b"idat"))
    items = Items(
        exif=_item(places, kinds, b"Exif"), xmp=_item(places, kinds, b"application/rdf+xml")
    )
    primary = _primary(data, parts.get(b"pitm"))
    return _with_properties(items, data, parts.get(b"iprp"), primary)


def _find(data: bytes, span: _Span, wanted: bytes) -> _Span | None:
    return next((found for kind, found in boxes(data, *span) if kind == wanted), None)


def _kinds(data: bytes, iinf: _Span | None) -> Iterator[tuple[int, bytes]]:
    """Yield each item's id and its type, or the media type of a ``mime`` item."""
    if iinf is None or iinf[0] + 8 > iinf[1]:
        return
    count_bytes = 2 if data[iinf[0]] == 0 else 4
    for kind, (at, end) in boxes(data, iinf[0] + 4 + count_bytes, iinf[1]):
        if kind != b"infe" or end - at < 12 or data[at] not in (2, 3):
            continue
        id_bytes = 2 if data[at] == 2 else 4
        item = int.from_bytes(data[at + 4 : at + 4 + id_bytes], "big")
        type_at = at + 4 + id_bytes + 2
        name = data[type_at : type_at + 4]
        if name == b"mime":
            _, _, rest = data[type_at + 4 : end].partition(b"\0")
            name = rest.partition(b"\0")[0]
        yield item, name


def _primary(data: bytes, pitm: _Span | None) -> int | None:
    if pitm is None or pitm[1] - pitm[0] < 6:
        return None
    size = 2 if data[pitm[0]] == 0 else 4
    return int.from_bytes(data[pitm[0] + 4 : pitm[0] + 4 + size], "big")


class _Places:
    """Where the bytes of items are (``iloc``)."""

    def __init__(self, data: bytes, iloc: _Span | None, idat: _Span | None) -> None:
        self._data = data
        self._idat = idat
        self._extents: dict[int, list[_Span]] = {}
        if iloc is not None:
            self._read(*iloc)

    def bytes_of(self, item: int) -> bytes:
        extents = self._extents.get(item, [])
        if sum(end - begin for begin, end in extents) > MAX_ITEM_BYTES:
            return b""
        return b"".join(self._data[begin:end] for begin, end in extents)

    def _read(self, at: int, end: int) -> None:
        cursor = _Cursor(self._data, at, end)
        version = cursor.take(1)
        cursor.take(3)
        sizes = cursor.take(2)
        offset_size, length_size, base_size, index_size = (
            sizes >> shift & 0xF for shift in (12, 8, 4, 0)
        )
        count = cursor.take(2 if version < 2 else 4)
        left = MAX_ITEMS
        for _ in range(min(count, MAX_ITEMS)):
            item = cursor.take(2 if version < 2 else 4)
            method = cursor.take(2) & 0xF if version else 0
            cursor.take(2)  # the file that has the data: this one
            base = cursor.take(base_size)
            extents: list[_Span] = []
            for _ in range(min(cursor.take(2), left)):
                left -= 1
                cursor.take(index_size if version else 0)
                offset, length = cursor.take(offset_size), cursor.take(length_size)
                extents.extend(self._extent(method, base + offset, length))
            if cursor.is_beyond:
                return
            self._extents.setdefault(item, extents)

    def _extent(self, method: int, at: int, length: int) -> Iterator[_Span]:
        low, high = (0, len(self._data)) if method == 0 else self._idat or (0, 0)
        begin = low + at
        end = begin + length if length else high
        if method in (0, 1) and begin <= end <= high:
            yield begin, end


class _Cursor:
    """Takes big-endian numbers; those beyond the end are 0."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self._at = at
        self._end = end

    @property
    def is_beyond(self) -> bool:
        return self._at > self._end

    def take(self, size: int) -> int:
        begin, self._at = self._at, self._at + size
        return 0 if self.is_beyond else int.from_bytes(self._data[begin : self._at], "big")


def _item(places: _Places, kinds: dict[int, bytes], wanted: bytes) -> bytes:
    found = (places.bytes_of(item) for item, kind in kinds.items() if kind == wanted)
    return next(filter(None, found), b"")


def _with_properties(items: Items, data: bytes, iprp: _Span | None, primary: int | None) -> Items:
    """Add what the properties that belong to the primary item say (ISO/IEC 23008-12, 9.3)."""
    ipco = None if iprp is None else _find(data, iprp, b"ipco")
    if iprp is None or ipco is None:
        return items
    properties = list(boxes(data, *ipco))
    indices = [
        index
        for kind, span in boxes(data, *iprp)
        if kind == b"ipma"
        for index in _associated(data, span, primary)
    ]
    own = [properties[index - 1] for index in indices if 0 < index <= len(properties)]
    depths = [_bit_depth(data, *each) for each in (*own, *properties)]
    return msgspec.structs.replace(
        items,
        icc=next(filter(None, (_profile(data, *each) for each in own)), b""),
        bit_depth=next(filter(None, depths), None),
        orientation=_orientation(data, own),
    )


def _associated(data: bytes, ipma: _Span, primary: int | None) -> Iterator[int]:
    cursor = _Cursor(data, *ipma)
    version = cursor.take(1)
    wide = cursor.take(3) & 1
    for _ in range(min(cursor.take(4), MAX_ITEMS)):
        item = cursor.take(4 if version else 2)
        for _ in range(cursor.take(1)):
            index = cursor.take(2 if wide else 1) & (0x7FFF if wide else 0x7F)
            if item == primary and not cursor.is_beyond:
                yield index
        if cursor.is_beyond:
            return


def _profile(data: bytes, kind: bytes, span: _Span) -> bytes:
    is_icc = kind == b"colr" and data[span[0] : span[0] + 4] in (b"prof", b"rICC")
    return data[span[0] + 4 : span[1]] if is_icc else b""


def _bit_depth(data: bytes, kind: bytes, span: _Span) -> int | None:
    """Return the bits of a sample: of ``pixi``, or of the configuration of HEVC or AV1."""
    at, end = span
    if kind == b"pixi" and end - at > 5:
        return data[at + 5]
    if kind == b"hvcC" and end - at > 17:
        return (data[at + 17] & 7) + 8
    if kind == b"av1C" and end - at > 2:
        high, twelve = data[at + 2] >> 6 & 1, data[at + 2] >> 5 & 1
        return 12 if high and twelve else 10 if high else 8
    return None


def _first_byte(data: bytes, properties: list[tuple[bytes, _Span]], wanted: bytes) -> int | None:
    found = (data[at] for kind, (at, end) in properties if kind == wanted and end > at)
    return next(found, None)


_TURNED = (1, 8, 3, 6)
_TURNED_AND_MIRRORED = ((4, 5, 2, 7), (2, 7, 4, 5))


def _orientation(data: bytes, properties: list[tuple[bytes, _Span]]) -> int | None:
    """Return the EXIF orientation of ``irot``, in quarter turns to the left, and ``imir``.

    An axis of 0 swaps top and bottom, one of 1 left and right (ISO/IEC 23008-12, 6.5.10, 6.5.12).
    They apply in the order of the properties (6.5.1), in which ``irot`` is usually first.
    """
    rotation = _first_byte(data, properties, b"irot")
    mirror = _first_byte(data, properties, b"imir")
    if rotation is None and mirror is None:
        return None
    turns = (rotation or 0) & 3
    if mirror is None:
        return _TURNED[turns]
    kinds = [kind for kind, _ in properties]
    if rotation is not None and kinds.index(b"imir") < kinds.index(b"irot"):
        turns = -turns & 3  # a mirror image that is turned is one of the opposite turn
    return _TURNED_AND_MIRRORED[mirror & 1][turns]
