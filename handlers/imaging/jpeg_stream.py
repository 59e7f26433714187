"""Extract from a JPEG file what its decoder needs, so that each of its warnings is about pixels.

libjpeg also warns of much that takes nothing from a picture: a missing end marker, stray bytes
between segments, an unknown version of JFIF or colour transform of Adobe. These are repaired or
left out here. Sections are those of ISO/IEC 10918-1; copying 3 MB takes 3 ms.
"""

import re
from collections.abc import Callable

import msgspec

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_END_OF_SCAN = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")

_SOI, _EOI, _SOS, _APP0, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE
_DHT, _DAC, _DQT, _DRI, _DNL = 0xC4, 0xCC, 0xDB, 0xDD, 0xDC
_START = bytes((0xFF, _SOI))
_END = bytes((0xFF, _EOI))

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_TABLES = {_DHT, _DAC, _DQT, _DRI}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}  # TEM, restart markers, SOI (B.1.1.3)
_IGNORED = {_DNL, 0xFE, *range(0xE0, 0xF0)}  # and comments, application segments

_PROGRESSIVE = {0xC2, 0xCA}
_ARITHMETIC = {0xC9, 0xCA}
_KINDS = {
    0xC3: "a lossless JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "a hierarchical JPEG"),
    **dict.fromkeys((0xC7, 0xCF), "a hierarchical lossless JPEG"),
    0xCB: "a lossless JPEG with arithmetic coding",
}
_DECODABLE_COMPONENTS = {1, 3, 4}
_COEFFICIENTS = 64
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
"""Shorter segments mean nothing to decoders."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """The frame header (B.2.2): ``marker`` is the second byte of its SOF."""

    marker: int
    bits: int
    components: bytes

    @property
    def unsupported(self) -> str | None:
        """Return what kind of JPEG this is if it cannot be decoded here; None if it can."""
        if self.marker in _KINDS:
            return _KINDS[self.marker]
        if len(self.components) not in _DECODABLE_COMPONENTS:
            return f"a JPEG with {len(self.components)} components"
        return None if self.bits == 8 else f"a JPEG of {self.bits} bits a sample"


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A JPEG stream of one picture, without metadata, that always has an end marker.

    ``ended`` says whether the file had that marker, ``broken`` whether a scan contained markers
    that no encoder writes there, and ``incomplete`` whether parts of the picture are in none of
    the scans.
    """

    data: bytes
    ended: bool
    broken: bool
    incomplete: bool
    is_arithmetic: bool


def find_frame(data: bytes) -> Frame | None:
    """Return the first frame header; None if there is no complete one before the first scan."""
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker in _WITHOUT_LENGTH or marker == _EOI:
            continue
        end = at + int.from_bytes(data[at : at + 2], "big")
        if marker == _SOS or end > len(data):
            return None
        if marker in _FRAMES:
            return _frame(marker, data[at + 2 : end])
        at = max(end, at)
    return None


def extract(data: bytes) -> Stream:
    """Return the first picture of a file that begins like a JPEG; never raises."""
    return _Reader(data).read()


class _Reader:
    """Reads a file once, from marker to marker."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parts: list[bytes] = [_START]
        self._adobe: int | None = None
        self._frame: Frame | None = None
        self._scans = 0
        self._broken = False
        self._unseen: set[int] = set()
        self._unfinished: dict[int, set[int]] = {}

    def read(self) -> Stream:
        at, ended = 2, False
        while not ended and (found := _MARKER.search(self._data, at)) is not None:
            marker, at = found[1][0], found.end()
            if marker == _EOI:
                # Decoders ignore an end before the first scan.
                ended = self._scans > 0
            elif marker not in _WITHOUT_LENGTH:
                end = at + int.from_bytes(self._data[at : at + 2], "big")
                if end > len(self._data):
                    break
                if end > at + 1:
                    at = self._segment(marker, at, end)
        self._name_transform()
        return Stream(
            data=b"".join((*self._parts, _END)),
            ended=ended,
            broken=self._broken,
            incomplete=self._is_incomplete(ended),
            is_arithmetic=self._frame is not None and self._frame.marker in _ARITHMETIC,
        )

    def _segment(self, marker: int, start: int, end: int) -> int:
        """Take over a segment, with the scan that follows it; return where the next may begin."""
        data, body = self._data, self._data[start + 2 : end]
        if marker in _FRAMES:
            if self._frame is None:
                self._frame = _frame(marker, body)
                self._unseen = set(self._frame.components)
                self._unfinished = {each: set(range(_COEFFICIENTS)) for each in self._unseen}
                self._keep(marker, data[start:end])
        elif marker in _TABLES:
            self._keep(marker, data[start:end])
        elif marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= _JFIF_BYTES:
            self._keep(marker, data[start : start + 7] + b"\x01" + data[start + 8 : end])
        elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= _ADOBE_BYTES:
            self._adobe = len(self._parts)
            self._keep(marker, data[start:end])
        elif marker == _SOS:
            self._keep(marker, data[start:end])
            self._note_scan(body)
            return self._entropy_coded(end)
        elif marker not in _IGNORED and self._scans:
            self._broken = True
            return start
        return end

    def _keep(self, marker: int, segment: bytes) -> None:
        self._parts += (bytes((0xFF, marker)), segment)

    def _entropy_coded(self, start: int) -> int:
        """Take over the data of a scan up to the next segment, and return where that is.

        A marker without a segment was most likely a data byte 0xFF, which a 0 follows, before the
        file was damaged (B.1.1.5).
        """
        self._scans += 1
        while (found := _END_OF_SCAN.search(self._data, start)) is not None:
            self._parts.append(self._data[start : found.start()])
            if _begins_segment(self._data, found):
                return found.start()
            self._broken = True
            self._parts.append(b"\xff\0")
            start = found.end()
        self._parts.append(self._data[start:])
        return len(self._data)

    def _note_scan(self, header: bytes) -> None:
        """Note which coefficients the scan completes (B.2.3, and G.1.1.1 for progressive ones)."""
        if self._frame is None or len(header) < 4:
            return
        first, last, approximation = header[-3:]
        if self._frame.marker not in _PROGRESSIVE:
            first, last, approximation = 0, _COEFFICIENTS - 1, 0
        for component in header[1:-3:2]:
            self._unseen.discard(component)
            if approximation & 15 == 0:
                self._unfinished.get(component, set()).difference_update(range(first, last + 1))

    def _is_incomplete(self, ended: bool) -> bool:
        """Return whether a component has no scan, or a truncated file lacks one of its scans.

        Truncated arithmetic coded data decodes as if zeros followed, without a warning.
        """
        if ended or self._frame is None:
            return bool(self._unseen)
        return self._frame.marker in _ARITHMETIC or any(self._unfinished.values())

    def _name_transform(self) -> None:
        """Name the colour transform that decoders assume for one that Adobe does not define."""
        if self._adobe is None:
            return
        components = self._frame.components if self._frame else b""
        default = {3: 1, 4: 2}.get(len(components), 0)
        segment = self._parts[self._adobe + 1]
        if segment[13] not in (0, default):
            segment = segment[:13] + bytes((default,)) + segment[14:]
        self._parts[self._adobe + 1] = segment


def _begins_segment(data: bytes, marker: re.Match[bytes]) -> bool:
    """Return whether a marker after the data of a scan ends the picture or begins a segment.

    A segment that the end of the file cuts is one.
    """
    kind, start = marker[1][0], marker.end()
    end = start + int.from_bytes(data[start : start + 2], "big")
    if kind == _EOI or (end > len(data) and kind in _TABLES | _IGNORED | {_SOS}):
        return True
    body = data[start + 2 : end]
    match kind:
        case 0xDA:
            return bool(body) and len(body) == 4 + 2 * body[0]
        case 0xC4:
            return _fills(body, lambda at: 17 + sum(body[at + 1 : at + 17]))
        case 0xDB:
            return _fills(body, lambda at: 129 if body[at] >> 4 else 65)
        case 0xCC:
            return len(body) % 2 == 0
        case 0xDC | 0xDD:
            return len(body) == 2
        case _:
            return kind in _IGNORED and end > start + 1 and _MARKER.match(data, end) is not None


def _fills(body: bytes, length: Callable[[int], int]) -> bool:
    """Return whether tables of a ``length`` that depends on their first byte fill the segment."""
    at = 0
    while at < len(body):
        at += length(at)
    return 0 < at == len(body)


def _frame(marker: int, body: bytes) -> Frame:
    bits = body[0] if body else 0
    return Frame(marker=marker, bits=bits, components=body[6::3])
