"""Detect the format of a picture by its first bytes; names and declared types are ignored.

Sources: JPEG ISO/IEC 10918-1 B.1.1; PNG 3rd edition 5.2; WebP RFC 9649; GIF89a 17; TIFF 6.0 2 and
BigTIFF; ``ftyp`` brands of ISO/IEC 14496-12 4.3, ISO/IEC 23008-12 annex B (HEIF) and AVIF 1.1.0.
"""

HEAD_BYTES = 64
"""How many bytes ``sniff`` reads; it does not see brands of an ISO file that lie beyond."""

_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF = {b"mif1", b"mif2", b"msf1", b"miaf"}

_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def sniff(head: bytes) -> tuple[str, str] | None:
    """Return the name and MIME type of the format that ``head`` begins, or None for no picture.

    A match only describes the beginning of the file, which may still be broken or hostile.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG", "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG", "image/png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP", "image/webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF", "image/gif"
    if head.startswith(_TIFF):
        return "TIFF", "image/tiff"
    if head[4:8] == b"ftyp":
        return _by_brands(head[:HEAD_BYTES])
    return None


def _by_brands(head: bytes) -> tuple[str, str] | None:
    """Return the format by the major brand, or by the compatible brands if that one is general."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major = head[8:12]
    brands = {major} | {head[at : at + 4] for at in range(16, end - 3, 4)}
    if major not in _AVIF | _HEIC | _HEIF:
        return None
    if major in _AVIF or (major in _HEIF and brands & _AVIF):
        return "AVIF", "image/avif"
    if brands & _HEIC:
        return "HEIC", "image/heic"
    return "HEIF", "image/heif"
