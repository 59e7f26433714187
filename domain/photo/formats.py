"""Detect the format of a file by its first bytes; names and declared types are ignored.

Sources: JPEG ISO/IEC 10918-1 B.1.1; PNG 3rd edition 5.2; WebP RFC 9649; GIF89a 17; TIFF 6.0 2 and
BigTIFF; ``ftyp`` brands of ISO/IEC 14496-12 4.3, ISO/IEC 23008-12 annex B (HEIF) and AVIF 1.1.0;
JPEG XL ISO/IEC 18181-2 9.1. Cameras' own formats begin as their makers' files do.
"""

import re

HEAD_BYTES = 64
"""How many bytes are read; brands of an ISO file that lie beyond are not seen."""

FORMATS = ("JPEG", "PNG", "WebP", "GIF", "TIFF", "AVIF", "HEIC", "HEIF", "JXL", "RAW")
"""The names of the supported formats, as in results and in the setting ``refused_formats``."""

SUPPORTED = (
    "JPEG, PNG, WebP, GIF, TIFF, AVIF, HEIC, HEIF, JPEG XL, "
    "RAW (DNG, NEF, CR2, CR3, ARW, RAF, ORF, RW2, PEF)"
)
"""The supported formats, as a sentence names them."""

_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF = {b"mif1", b"mif2", b"msf1", b"miaf"}

_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

_BEGINNINGS: tuple[tuple[bytes, tuple[str, str]], ...] = (
    (b"\xff\xd8\xff", ("JPEG", "image/jpeg")),
    (b"\x89PNG\r\n\x1a\n", ("PNG", "image/png")),
    (b"GIF87a", ("GIF", "image/gif")),
    (b"GIF89a", ("GIF", "image/gif")),
    (b"\xff\x0a", ("JXL", "image/jxl")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", ("JXL", "image/jxl")),
    (b"FUJIFILMCCD-RAW ", ("RAW", "image/x-fuji-raf")),
    (b"IIRO", ("RAW", "image/x-olympus-orf")),
    (b"IIRS", ("RAW", "image/x-olympus-orf")),
    (b"MMOR", ("RAW", "image/x-olympus-orf")),
    (b"IIU\0", ("RAW", "image/x-panasonic-rw2")),
)

# What people upload by mistake or in hope: a name for the answer, and how such a file begins.
_UNSUPPORTED: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, re.compile(pattern, re.DOTALL | re.IGNORECASE if name in ("SVG", "HTML") else re.DOTALL))
    for name, pattern in (
        ("BMP", rb"BM.{4}(\0{4}.{4}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0|$)"),
        ("JPEG 2000", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
        ("JPEG XR", rb"II\xbc"),
        ("JPEG XS", rb"\0\0\0\x0cjXS \r\n\x87\n|\xff\x10\xff\x50"),
        ("HEIF without HEVC or AV1", rb".{4}ftyp(vvi[cs]|avc[is]|j2(ki|is)|jp(eg|gs)|evb[is])"),
        ("Photoshop", rb"8BPS\0[\x01\x02]"),
        ("GIMP XCF", rb"gimp xcf "),
        ("Windows icon", rb"\0\0[\x01\x02]\0[^\0]"),
        ("macOS icon", rb"icns"),
        ("SVG", (rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--(?:(?!-->).)*-->\s*)*"
                 rb"<(([a-z]+:)?svg[\s/>]|!doctype svg)")),
        ("HTML", rb"(\xef\xbb\xbf)?\s*(<!doctype html|<html)"),
        ("XML", rb"(\xef\xbb\xbf)?\s*<\?xml\s"),
        ("PDF", rb"%PDF-"),
        ("PostScript", rb"%!PS|\xc5\xd0\xd3\xc6"),
        ("OpenEXR", rb"v/1\x01"),
        ("Radiance HDR", rb"#\?(RADIANCE|RGBE)"),
        ("DDS", rb"DDS \x7c\0\0\0"),
        ("KTX", rb"\xabKTX "),
        ("PCX", rb"\x0a[\0\x02\x03\x04\x05][\0\x01][\x01\x02\x04\x08]"),
        ("Netpbm", rb"P[1-7Ff][\s#]"),
        ("BPG", rb"BPG\xfb"),
        ("FLIF", rb"FLIF"),
        ("QOI", rb"qoif"),
        ("FITS", rb"SIMPLE  ="),
        ("MNG", rb"\x8aMNG\r\n"),
        ("JNG", rb"\x8bJNG\r\n"),
        ("SGI", rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]"),
        ("Sun raster", rb"\x59\xa6\x6a\x95"),
        ("XPM", rb"/\* XPM \*/"),
        ("WMF", rb"\xd7\xcd\xc6\x9a"),
        ("EMF", rb"\x01\0\0\0.{36} EMF"),
        ("DjVu", rb"AT&TFORM"),
        ("Sigma X3F", rb"FOVb"),
        ("Minolta MRW", rb"\0MRM"),
        ("Canon CRW", rb"II.{4}HEAPCCDR"),
        ("QuickTime video", rb".{4}(ftypqt  |moov|mdat|wide|pnot|skip)"),
        ("3GP video", rb".{4}ftyp3g"),
        ("MP4 video", (rb".{4}ftyp(isom|iso[2-9]|mp4[12]|mp71|avc1|hvc1|hev1|dash|M4V|MSNV|XAVC|"
                       rb"f4v|mmp4)")),
        ("MP4 audio", rb".{4}ftypM4[ABP]"),
        ("Matroska or WebM video", rb"\x1a\x45\xdf\xa3"),
        ("AVI video", rb"RIFF.{4}AVI "),
        ("WAV", rb"RIFF.{4}WAVE"),
        ("WMV video", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
        ("FLV video", rb"FLV\x01"),
        ("MPEG video", rb"\0\0\x01[\xb3\xba]"),
        ("Ogg", rb"OggS\0"),
        ("ZIP", rb"PK(\x03\x04|\x05\x06)"),
        ("gzip", rb"\x1f\x8b\x08"),
        ("7-Zip", rb"7z\xbc\xaf\x27\x1c"),
        ("RAR", rb"Rar!\x1a\x07"),
        # These have no mark of their own: all fields of the header have to be possible.
        ("TGA", (rb"\0(\x01[\x01\x09]\0\0(?!\0\0)..[\x0f\x10\x18\x20]|\0[\x02\x03\x0a\x0b]\0{5})"
                rb"\0{4}(?!\0\0)..(?!\0\0)..[\x08\x0f\x10\x18\x20][\0-\x3f]")),
        ("WBMP", rb"\0\0[\x80-\xff]?[\x01-\x7f][\x80-\xff]?[\x01-\x7f]"),
    )
)  # fmt: skip


def sniff(head: bytes) -> tuple[str, str] | None:
    """Return the name and MIME type of the format that ``head`` begins, or None for no picture.

    A match only describes the beginning of the file, which may still be broken or hostile. Many
    RAW formats begin like any TIFF: only the whole file tells them apart.
    """
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP", "image/webp"
    if head.startswith(_TIFF):
        if head[8:10] == b"CR":
            return "RAW", "image/x-canon-cr2"
        return "TIFF", "image/tiff"
    if head[4:8] == b"ftyp":
        return _by_brands(head[:HEAD_BYTES])
    return None


def unsupported(head: bytes) -> str | None:
    """Return the name of a known format that is not supported; None if it is not known either."""
    head = head[:HEAD_BYTES]
    return next((name for name, pattern in _UNSUPPORTED if pattern.match(head)), None)


def refusal(head: bytes) -> str:
    """Say that the file is in no supported format, by the name of its own if that is known."""
    name = unsupported(head)
    if name is None:
        return f"The file is in none of the supported formats: {SUPPORTED}."
    return f"{name} is not supported. Upload one of: {SUPPORTED}."


def _by_brands(head: bytes) -> tuple[str, str] | None:
    """Return the format by the major brand, or by the compatible brands if that one is general."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major = head[8:12]
    if major == b"crx ":
        return "RAW", "image/x-canon-cr3"
    brands = {major} | {head[at : at + 4] for at in range(16, end - 3, 4)}
    if major not in _AVIF | _HEIC | _HEIF:
        return None
    if major in _AVIF or (major in _HEIF and brands & _AVIF):
        return "AVIF", "image/avif"
    if brands & _HEIC:
        return "HEIC", "image/heic"
    return "HEIF", "image/heif"
