"""Find the blocks of metadata in a file, without decoding a pixel.

Each function walks the parts of one format: JPEG (ITU-T T.81, annex B; EXIF 3.0, 4.7), PNG (third
edition, 5.3 and 11.3), WebP (RFC 9649), GIF (GIF89a; XMP part 3, 1.1.2), TIFF. A part that claims
more bytes than there are ends the walk; blocks before it count.
"""

import re
import struct
import zlib
from collections.abc import Callable

import msgspec

from handlers.imaging.metadata import exif, iptc, isobmff, xmp
from handlers.imaging.metadata.tiff_directory import open_block
from handlers.imaging.metadata.values import integer

MAX_EXIF_BYTES = 4 << 20
MAX_ICC_BYTES = 16 << 20
MAX_PARTS = 500_000
MAX_INFLATED_BYTES = 64 << 20
"""The limit for all compressed blocks of a file together; later blocks are ignored."""


_EXIF = b"Exif\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_ICC = b"ICC_PROFILE\0"
_STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

_EXTENSION_HEADER = 40

_TIFF_HEADER = re.compile(rb"II\*\0|MM\0\*")
_HEADER_WITHIN = 64
"""Some software puts the header of the EXIF block twice, or a few bytes between."""


class Blocks(msgspec.Struct, kw_only=True):
    """The blocks of a file, each empty if the file has none.

    ``xmp_extended`` has the properties for which the packet had no room (XMP part 3, 1.1.3.1).
    ``exif`` begins with a TIFF header, and so do ``exif_directory`` and ``gps_directory``: further
    blocks whose first directory is that for EXIF or GPS. ``bit_depth`` is in bits a sample.
    ``orientation`` is what the container says, 1 to 8, where EXIF does not decide; ``is_upright``
    that the decoder turns the picture accordingly. ``inflatable_bytes`` is how much may still be
    decompressed of the file.
    """

    exif: bytes = b""
    exif_directory: bytes = b""
    gps_directory: bytes = b""
    xmp: bytes = b""
    xmp_extended: bytes = b""
    iptc: bytes = b""
    iptc_digest: bytes = b""
    icc: bytes = b""
    bit_depth: int | None = None
    orientation: int | None = None
    is_upright: bool = False
    inflatable_bytes: int = MAX_INFLATED_BYTES


def find(data: bytes, name: str) -> Blocks:
    """Return the blocks of a file in the format ``name``, as ``sniff`` names it."""
    walk = _WALKS.get(name)
    return Blocks() if walk is None else walk(data)


def _jpeg(data: bytes) -> Blocks:
    found = Blocks()
    resources: list[bytes] = []
    profile: dict[int, bytes] = {}
    extensions: list[bytes] = []
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:  # fill bytes or garbage between segments
            at = data.find(b"\xff", at)
            if at < 0:
                break
            continue
        marker = data[at + 1]
        if marker in (0xDA, 0xD9):
            break
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        body = at + 4
        at += 2 + max(2, size)
        if at > len(data):
            break
        if marker == 0xE1 and data.startswith(_XMP_EXTENSION, body):
            extensions.append(data[body + len(_XMP_EXTENSION) : at])
        elif marker == 0xE1:
            _application_1(data[body:at], found)
        elif marker == 0xE2 and data.startswith(_ICC, body):
            profile.setdefault(data[body + 12], data[body + 14 : at])
        elif marker == 0xED and data.startswith(_PHOTOSHOP, body):
            resources.append(data[body + len(_PHOTOSHOP) : at])
        elif marker in _STARTS_OF_FRAME and found.bit_depth is None and at > body:
            found.bit_depth = data[body]
    found.icc = b"".join(profile[number] for number in sorted(profile))
    found.iptc, found.iptc_digest = iptc.resources(b"".join(resources)[: iptc.MAX_BYTES])
    found.xmp_extended = _extended(extensions, found.xmp) if extensions else b""
    return found


def _extended(segments: list[bytes], packet: bytes) -> bytes:
    """Return the extended packet that the other one names, from its parts in any order.

    A part begins with the name of its packet, the length of that, and its own offset.
    """
    name = xmp.extension_of(packet)
    parts: dict[int, bytes] = {}
    found_bytes = 0
    for segment in segments:
        offset = int.from_bytes(segment[36:40], "big")
        if not name or not segment.startswith(name) or offset in parts:
            continue
        parts[offset] = segment[_EXTENSION_HEADER:]
        found_bytes += len(parts[offset])
        if found_bytes > xmp.MAX_BYTES:
            break
        if found_bytes == int.from_bytes(segment[32:36], "big"):
            return b"".join(parts[offset] for offset in sorted(parts))
    return b""


def _application_1(segment: bytes, found: Blocks) -> None:
    if segment.startswith(_EXIF):
        block = with_header(segment[6:])
        if not found.exif:
            found.exif = block
        elif not block and len(found.exif) < MAX_EXIF_BYTES:  # the block goes on here
            found.exif += segment[6:]
    elif segment.startswith(_XMP) and not found.xmp:
        found.xmp = segment[len(_XMP) :]


def with_header(block: bytes) -> bytes:
    """Return the block from its TIFF header on; empty if it has none."""
    header = _TIFF_HEADER.search(block, 0, _HEADER_WITHIN)
    return block[header.start() :] if header and len(block) <= MAX_EXIF_BYTES else b""


def _png(data: bytes) -> Blocks:
    found = Blocks()
    at = 8
    for _ in range(MAX_PARTS):
        if at + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        begin, at = at + 8, at + 12 + length
        if kind == b"IEND" or begin + length > len(data):
            break
        if kind in _PNG_CHUNKS:
            _PNG_CHUNKS[kind](data[begin : begin + length], found)
    return found


def _png_header(chunk: bytes, found: Blocks) -> None:
    palette = len(chunk) >= 10 and chunk[9] == 3
    found.bit_depth = 8 if palette else chunk[8] if len(chunk) > 8 else None


def _png_exif(chunk: bytes, found: Blocks) -> None:
    found.exif = with_header(chunk) or found.exif


def _png_profile(chunk: bytes, found: Blocks) -> None:
    _, _, rest = chunk.partition(b"\0")
    found.icc = found.icc or _inflated(rest[1:], MAX_ICC_BYTES, found)


def _png_text(chunk: bytes, found: Blocks) -> None:
    keyword, _, text = chunk.partition(b"\0")
    _png_keyword(keyword, text, found)


def _png_compressed_text(chunk: bytes, found: Blocks) -> None:
    keyword, _, rest = chunk.partition(b"\0")
    if keyword.startswith(b"Raw profile type "):
        _png_keyword(keyword, _inflated(rest[1:], 2 * MAX_EXIF_BYTES, found), found)


def _png_international_text(chunk: bytes, found: Blocks) -> None:
    keyword, _, rest = chunk.partition(b"\0")
    is_compressed = rest[:1] == b"\1"
    _language, _, text = rest[2:].partition(b"\0")
    _translated, _, text = text.partition(b"\0")
    if keyword == b"XML:com.adobe.xmp" or keyword.startswith(b"Raw profile type "):
        inflated = _inflated(text, xmp.MAX_BYTES, found) if is_compressed else text
        _png_keyword(keyword, inflated, found)


def _png_keyword(keyword: bytes, text: bytes, found: Blocks) -> None:
    if keyword == b"XML:com.adobe.xmp":
        found.xmp = found.xmp or text
        return
    match keyword.removeprefix(b"Raw profile type "):
        case b"exif" | b"APP1":
            raw = _raw_profile(text)
            if raw.startswith(_XMP):
                found.xmp = found.xmp or raw[len(_XMP) :]
            else:
                found.exif = found.exif or with_header(raw)
        case b"xmp":
            found.xmp = found.xmp or _raw_profile(text)
        case b"iptc" | b"8bim":
            raw = _raw_profile(text).removeprefix(_PHOTOSHOP)
            if not found.iptc:
                found.iptc, found.iptc_digest = iptc.resources(raw)
        case _:
            pass


_PNG_CHUNKS: dict[bytes, Callable[[bytes, Blocks], None]] = {
    b"IHDR": _png_header,
    b"eXIf": _png_exif,
    b"iCCP": _png_profile,
    b"tEXt": _png_text,
    b"zTXt": _png_compressed_text,
    b"iTXt": _png_international_text,
}


def _raw_profile(text: bytes) -> bytes:
    """Return the bytes of a profile as ImageMagick writes it: name, length, hexadecimal lines."""
    _, _, digits = text.lstrip(b"\n").partition(b"\n")
    length, _, digits = digits.strip().partition(b"\n")
    try:
        raw = bytes.fromhex(digits.decode("ascii"))
        return raw[: int(length)]
    except ValueError:
        return b""


def _inflated(compressed: bytes, at_most: int, found: Blocks) -> bytes:
    """Return the decompressed bytes; empty if they are broken or too many."""
    if found.inflatable_bytes <= 0:
        return b""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(compressed, at_most)
    except zlib.error:
        found.inflatable_bytes -= at_most
        return b""
    found.inflatable_bytes -= len(inflated)
    return b"" if inflater.unconsumed_tail else inflated


def _webp(data: bytes) -> Blocks:
    found = Blocks(bit_depth=8)
    at = 12
    for _ in range(MAX_PARTS):
        if at + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        begin, at = at + 8, at + 8 + length + length % 2
        if begin + length > len(data):
            break
        if kind == b"EXIF":
            found.exif = found.exif or with_header(data[begin : begin + length])
        elif kind == b"XMP ":
            found.xmp = found.xmp or data[begin : begin + length]
        elif kind == b"ICCP" and length <= MAX_ICC_BYTES:
            found.icc = found.icc or data[begin : begin + length]
    return found


def _gif(data: bytes) -> Blocks:
    """The packet stands in the extension as it is, not in sub-blocks."""
    begin = data.find(b"\x21\xff\x0bXMP DataXMP")
    end = data.find(b"</x:xmpmeta>", begin, begin + xmp.MAX_BYTES) if begin >= 0 else -1
    return Blocks(bit_depth=8, xmp=data[begin + 14 : end + 12] if end >= 0 else b"")


def of_tiff(data: bytes) -> Blocks:
    """The EXIF block is the file itself, which is read where it is."""
    tiff = open_block(data)
    if tiff is None:
        return Blocks()
    main = tiff.first()
    datasets, digest = iptc.resources(main.bytes_of(exif.PHOTOSHOP, iptc.MAX_BYTES))
    return Blocks(
        exif=data,
        xmp=main.bytes_of(exif.XMP, xmp.MAX_BYTES),
        iptc=datasets or main.bytes_of(exif.IPTC, iptc.MAX_BYTES),
        iptc_digest=digest,
        icc=main.bytes_of(exif.ICC_PROFILE, MAX_ICC_BYTES),
        bit_depth=integer(main.get(exif.Tag.BITS_PER_SAMPLE)) or 1,
    )


def _isobmff(data: bytes) -> Blocks:
    items = isobmff.read(data)
    # The Exif item begins with the offset of the TIFF header (ISO/IEC 23008-12, A.2.1).
    return Blocks(
        exif=with_header(items.exif[4:]),
        xmp=items.xmp,
        icc=items.icc,
        bit_depth=items.bit_depth,
        orientation=items.orientation,
    )


def _heif(data: bytes) -> Blocks:
    """As ``_isobmff``; libheif applies the transformations, which the decoder of AVIF does not."""
    found = _isobmff(data)
    found.is_upright = found.orientation is not None
    return found


_WALKS: dict[str, Callable[[bytes], Blocks]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "GIF": _gif,
    "TIFF": of_tiff,
    "AVIF": _isobmff,
    "HEIC": _heif,
    "HEIF": _heif,
}
