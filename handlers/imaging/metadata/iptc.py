"""Read the texts of IPTC-IIM (version 4.2), as Photoshop's image resources or a TIFF tag hold them.

A text is in the coded character set that record 1 declares; without one it is UTF-8 where it is
valid, and Latin-1 otherwise.
"""

import codecs
import hashlib
import struct

import msgspec

from handlers.imaging.metadata.values import MAX_NAME, MAX_TEXT, decode, tidy

MAX_BYTES = 256 << 10
MAX_DATASETS = 1_000

_TAG_MARKER = 0x1C
_CHARACTER_SET = (1, 90)

OBJECT_NAME = (2, 5)
KEYWORDS = (2, 25)
DATE_CREATED = (2, 55)
TIME_CREATED = (2, 60)
BY_LINE = (2, 80)
COPYRIGHT_NOTICE = (2, 116)
CAPTION = (2, 120)

_ISO_8859 = {
    b"A": "latin-1",
    b"B": "iso8859-2",
    b"L": "iso8859-5",
    b"G": "iso8859-6",
    b"F": "iso8859-7",
    b"H": "iso8859-8",
    b"M": "iso8859-9",
}
"""The right halves of ISO 8859 by their final character in ISO 2022 (ISO-IR 100 and others)."""

# A decoder process cannot load a codec later, because it cannot open files.
for _codec in _ISO_8859.values():
    codecs.lookup(_codec)

_RESOURCE = b"8BIM"
_IPTC_RESOURCE = 0x0404
_DIGEST_RESOURCE = 0x0425


class Iptc(msgspec.Struct, frozen=True, kw_only=True):
    """``texts`` by record and dataset.

    ``is_newer_than_xmp`` tells that a program that knows no XMP has changed the texts: their MD5 is
    not the one that was stored when both were equal (Metadata Working Group, 3.3.1).
    """

    texts: dict[tuple[int, int], tuple[str, ...]] = {}
    is_newer_than_xmp: bool = False

    def text(self, dataset: tuple[int, int], longest: int = MAX_TEXT) -> str | None:
        found = (tidy(text, longest) for text in self.texts.get(dataset, ()))
        return next(filter(None, found), None)

    def names(self, dataset: tuple[int, int]) -> tuple[str, ...]:
        found = (tidy(text, MAX_NAME) for text in self.texts.get(dataset, ()))
        return tuple(text for text in found if text)


def read(datasets: bytes, digest: bytes = b"") -> Iptc:
    """Return the texts of a sequence of datasets, up to the first that is broken."""
    values = _datasets(datasets)
    encoding = _encoding((values.get(_CHARACTER_SET) or [b""])[0])
    return Iptc(
        texts={
            dataset: tuple(_decoded(each, encoding) for each in found)
            for dataset, found in values.items()
        },
        is_newer_than_xmp=len(digest) == 16
        and any(digest)
        and digest != hashlib.md5(datasets, usedforsecurity=False).digest(),
    )


def resources(data: bytes) -> tuple[bytes, bytes]:
    """Return the datasets and their stored digest from Photoshop's image resources."""
    found: dict[int, bytes] = {}
    at = 0
    while data[at : at + 4] == _RESOURCE and at + 7 <= len(data):
        (kind,) = struct.unpack_from(">H", data, at + 4)
        name = at + 6
        length_at = name + 1 + data[name] + (data[name] + 1) % 2
        if length_at + 4 > len(data):
            break
        (length,) = struct.unpack_from(">I", data, length_at)
        begin = length_at + 4
        if begin + length > len(data):
            break
        if kind in (_IPTC_RESOURCE, _DIGEST_RESOURCE):
            found.setdefault(kind, data[begin : begin + length])
        at = begin + length + length % 2
    return found.get(_IPTC_RESOURCE, b""), found.get(_DIGEST_RESOURCE, b"")


def _datasets(data: bytes) -> dict[tuple[int, int], list[bytes]]:
    found: dict[tuple[int, int], list[bytes]] = {}
    at = 0
    for _ in range(MAX_DATASETS):
        if at + 5 > len(data) or data[at] != _TAG_MARKER:
            break
        record, dataset, length = struct.unpack_from(">BBH", data, at + 1)
        begin = at + 5
        if length & 0x8000:  # an extended dataset: what follows is the length (1.5.4)
            size = length & 0x7FFF
            length = int.from_bytes(data[begin : begin + size], "big")
            begin += size
        if begin + length > len(data):
            break
        found.setdefault((record, dataset), []).append(data[begin : begin + length])
        at = begin + length
    return found


def _encoding(escape: bytes) -> str | None:
    """Return the codec that an escape sequence of ISO 2022 names; None if it is another one."""
    if escape.startswith(b"\x1b%") and escape[2:3] in (b"G", b"/"):
        return "utf-8"
    if escape[:1] == b"\x1b" and escape[1:2] in (b"-", b".", b"/"):
        return _ISO_8859.get(escape[2:3])
    return None


def _decoded(raw: bytes, encoding: str | None) -> str:
    try:
        return raw.decode(encoding) if encoding else decode(raw)
    except UnicodeDecodeError:
        return decode(raw)
