"""Write files with any metadata, well-formed or not: Pillow's writer only writes what is valid."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, cast

import msgspec

from domain.photo.results import MetadataResult
from handlers.imaging.metadata import exif
from handlers.imaging.picture import load
from handlers.stage import Origin, StageContext
from handlers.stages import metadata
from tests.handlers.pictures import encoded, gradient

BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, UNDEFINED, SSHORT, SLONG, SRATIONAL = range(1, 11)
FLOAT, DOUBLE, IFD = 11, 12, 13
UTF8 = 129

_CODES = {SHORT: "H", LONG: "I", SSHORT: "h", SLONG: "i", FLOAT: "f", DOUBLE: "d", IFD: "I"}
_RATIONALS = {RATIONAL: "I", SRATIONAL: "i"}
UNDEFINED_RATIO = (0, 0)


class Entry(msgspec.Struct, frozen=True):
    """An entry as it is to be written: any type, any count, and its value or its offset."""

    kind: int
    count: int
    data: bytes
    offset: int | None = None


Values = Mapping[Any, Any]
"""Values by tag, as ``entry`` takes them."""


def entry(value: Any, order: str) -> Entry:
    """Return the entry of a text, bytes, a number, ratios or an ``Entry``; ``(type, values)`` names
    a type."""
    match value:
        case Entry():
            return value
        case str():
            raw = value.encode() + b"\0"
            return Entry(ASCII, len(raw), raw)
        case bytes():
            return Entry(UNDEFINED, len(value), value)
        case int():
            return _numbers(SHORT if 0 <= value < 65536 else LONG, [value], order)
        case Fraction():
            return _ratios(RATIONAL if value >= 0 else SRATIONAL, [value.as_integer_ratio()], order)
        case (int() as kind, list()):
            values = cast("list[Any]", value[1])
            if kind in _RATIONALS:
                return _ratios(kind, values, order)
            if kind in _CODES:
                return _numbers(kind, values, order)
            return Entry(kind, len(values), bytes(values))
        case _:
            return _ratios(RATIONAL, value, order)


def _numbers(kind: int, values: Sequence[float], order: str) -> Entry:
    return Entry(kind, len(values), struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values))


def _ratios(kind: int, values: Sequence[tuple[int, int]], order: str) -> Entry:
    flat = [part for value in values for part in value]
    code = f"{order}{len(flat)}{_RATIONALS[kind]}"
    return Entry(kind, len(values), struct.pack(code, *flat))


def directory(values: Values, at: int, order: str) -> bytes:
    """Return a directory that stands at offset ``at``, followed by its values."""
    size = 2 + 12 * len(values) + 4
    table, heap = struct.pack(order + "H", len(values)), b""
    for tag, value in values.items():
        each = entry(value, order)
        field = each.data.ljust(4, b"\0")
        if each.offset is not None:
            field = struct.pack(order + "I", each.offset)
        elif len(each.data) > 4:
            field = struct.pack(order + "I", at + size + len(heap))
            heap += each.data + bytes(len(each.data) % 2)
        table += struct.pack(order + "HHI", tag, each.kind, each.count) + field[:4]
    return table + bytes(4) + heap


def tiff(
    main: Values | None = None,
    exif_: Values | None = None,
    gps: Values | None = None,
    interoperability: Values | None = None,
    *,
    order: str = "<",
) -> bytes:
    """Return an EXIF block with these directories."""
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    main, exif_ = dict(main or {}), dict(exif_ or {})
    room = len(directory({**main, exif.EXIF_DIRECTORY: 0, exif.GPS_DIRECTORY: 0}, 8, order))
    at = 8 + room
    parts: list[bytes] = []
    if interoperability:
        parts.append(directory(interoperability, at, order))
        exif_[exif.INTEROPERABILITY_DIRECTORY] = (LONG, [at])
        at += len(parts[-1])
    if exif_:
        parts.append(directory(exif_, at, order))
        main[exif.EXIF_DIRECTORY] = (LONG, [at])
        at += len(parts[-1])
    if gps:
        parts.append(directory(gps, at, order))
        main[exif.GPS_DIRECTORY] = (LONG, [at])
    first = directory(main, 8, order)
    return block + first + bytes(room - len(first)) + b"".join(parts)


def jpeg(*segments: tuple[int, bytes], trailer: bytes = b"") -> bytes:
    """Return a small JPEG with these segments, each a marker and its content."""
    plain = encoded(gradient(16, 8), "JPEG")
    head = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
        for marker, content in segments
    )
    return plain[:2] + head + plain[2:] + trailer


def exif_segment(block: bytes) -> tuple[int, bytes]:
    return 0xE1, b"Exif\0\0" + block


def xmp_segment(packet: bytes) -> tuple[int, bytes]:
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet


def iptc_segment(datasets: bytes, digest: bytes = b"") -> tuple[int, bytes]:
    return 0xED, b"Photoshop 3.0\0" + resource(0x0404, datasets) + resource(0x0425, digest)


def resource(kind: int, data: bytes) -> bytes:
    if not data:
        return b""
    return struct.pack(">4sHHI", b"8BIM", kind, 0, len(data)) + data + bytes(len(data) % 2)


def dataset(record: int, number: int, data: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(data)) + data


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes) -> bytes:
    """Return a small PNG with these chunks before its picture."""
    plain = encoded(gradient(16, 8))
    return plain[:33] + b"".join(chunks) + plain[33:]


_NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "exifEX": "http://cipa.jp/exif/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
}


def xmp(content: str = "", **attributes: str) -> bytes:
    """Return a packet with this content of its description; ``dc_title`` is ``dc:title``."""
    declared = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items())
    given = " ".join(f'{name.replace("_", ":", 1)}="{value}"' for name, value in attributes.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {declared} {given}>{content}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def array(name: str, kind: str, *items: str) -> str:
    """Return a property of XMP that is a ``Bag``, a ``Seq`` or an ``Alt``."""
    inside = "".join(f"<rdf:li>{item}</rdf:li>" for item in items)
    return f"<{name}><rdf:{kind}>{inside}</rdf:{kind}></{name}>"


def facts(data: bytes, origin: Origin | None = None) -> MetadataResult:
    """Return what the stage finds in a file."""
    context = StageContext(origin=origin or Origin())
    result = metadata.run(load(data), context).result
    assert isinstance(result, MetadataResult)
    return result


def facts_of(
    main: Values | None = None,
    exif_: Values | None = None,
    gps: Values | None = None,
    *,
    xmp_: bytes = b"",
    datasets: bytes = b"",
    digest: bytes = b"",
    origin: Origin | None = None,
) -> MetadataResult:
    """Return what the stage finds in a JPEG with these tags, this packet and these datasets."""
    segments = [exif_segment(tiff(main, exif_, gps))]
    if xmp_:
        segments.append(xmp_segment(xmp_))
    if datasets:
        segments.append(iptc_segment(datasets, digest))
    return facts(jpeg(*segments), origin)
