"""Check the Huffman codes of a JPEG as libjpeg does, where TurboJPEG decodes none of it.

Pillow decodes every sampling, but drops libjpeg's warnings. This reads the codes without making a
picture, and finds what libjpeg warns of: codes that no table has, data that end too early or too
late, restart markers out of turn, and scans that do not continue earlier ones. Sections are those
of ISO/IEC 10918-1. A megabyte takes about two seconds, so only rare samplings are checked so.
"""

import functools
import re
from collections.abc import Iterator

import msgspec

_SOS, _DHT, _DRI = 0xDA, 0xC4, 0xDD
_FRAMES = {0xC0, 0xC1, 0xC2}
_PROGRESSIVE = 0xC2
_RESTARTS = range(0xD0, 0xD8)

# 0xFF before a marker is filler (B.1.1.2); 0xFF before 0 is a data byte.
_RESTART = re.compile(rb"\xff+([\xd0-\xd7])")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_STUFFED = re.compile(rb"\xff+\x00")

_BLOCK = 8
_LAST = 63

_FULL_BITS = 64
"""libjpeg reads ahead until it has more than 56 bits, and may so find the next marker early."""

_Table = list[int]
"""By the next 16 bits: the length of the code in them, times 256, and its symbol; 0 if none."""


class _Broken(Exception):
    """libjpeg would warn."""


class _Component(msgspec.Struct):
    """``nonzero`` has a bit for each coefficient of each block that is not zero so far.

    ``approximations`` is the position of the last bit that is known of each coefficient, -1 before
    its first scan.
    """

    across: int
    down: int
    blocks: tuple[int, int] = (0, 0)
    nonzero: list[int] = []
    approximations: list[int] = msgspec.field(default_factory=lambda: [-1] * (_LAST + 1))


class _Bits:
    """Reads the bits of the data between two markers."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._ahead = 0
        self.left = 0
        self.has_met_marker = False

    @property
    def unread_bytes(self) -> int:
        return len(self._data) - self._at

    def symbol(self, table: _Table) -> int:
        if self.left < 8:
            self._fill()
        found = table[self._next_16()]
        if not 0 < found >> 8 <= self.left:
            self._fill()
            found = table[self._next_16()]
        length = found >> 8
        if not 0 < length <= self.left:
            raise _Broken
        self.left -= length
        return found & 0xFF

    def take(self, count: int) -> int:
        if count > self.left:
            self._fill()
            if count > self.left:
                raise _Broken
        self.left -= count
        return self._ahead >> self.left & (1 << count) - 1

    def _fill(self) -> None:
        wanted = (_FULL_BITS - self.left) // 8
        found = self._data[self._at : self._at + wanted]
        self.has_met_marker = self.has_met_marker or len(found) < wanted
        self._at += len(found)
        kept = self._ahead & (1 << self.left) - 1
        self._ahead = kept << 8 * len(found) | int.from_bytes(found, "big")
        self.left += 8 * len(found)

    def _next_16(self) -> int:
        """Return the next 16 bits; zeros stand for those beyond the end."""
        if self.left >= 16:
            return self._ahead >> self.left - 16 & 0xFFFF
        return self._ahead << 16 - self.left & 0xFFFF


def is_broken(data: bytes) -> bool:
    """Return whether libjpeg would warn of the picture data of a stream that ``extract`` returned.

    A file that libjpeg rejects may have either result.
    """
    try:
        _Checker(data).run()
    except _Broken:
        return True
    except (IndexError, KeyError, ValueError, ZeroDivisionError):
        return False  # decoders reject headers like these
    return False


class _Scan(msgspec.Struct):
    """The header of a scan (B.2.3): its components, with their tables, and its coefficients."""

    parts: list[tuple[_Component, _Table, _Table]]
    first: int
    last: int
    high: int
    low: int


class _Checker:
    """Reads a stream from segment to segment."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._definitions: dict[int, tuple[bytes, bytes]] = {}
        self._components: dict[int, _Component] = {}
        self._size = (0, 0)
        self._interval = 0
        self._is_progressive = False
        self._skipped_bytes = 0

    def run(self) -> None:
        at, data = 2, self._data
        while at + 4 <= len(data):
            marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            body = data[at + 4 : end]
            if marker in _FRAMES:
                self._frame(marker, body)
            elif marker == _DHT:
                self._define_tables(body)
            elif marker == _DRI:
                self._interval = int.from_bytes(body[:2], "big")
            elif marker == _SOS:
                end = self._scan(body, end)
            at = end

    def _frame(self, marker: int, body: bytes) -> None:
        self._is_progressive = marker == _PROGRESSIVE
        height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        for at in range(6, 6 + 3 * body[5], 3):
            self._components[body[at]] = _Component(body[at + 1] >> 4, body[at + 1] & 15)
        most_across = max(each.across for each in self._components.values())
        most_down = max(each.down for each in self._components.values())
        self._size = _up(width, _BLOCK * most_across), _up(height, _BLOCK * most_down)
        for each in self._components.values():
            each.blocks = (
                _up(width * each.across, _BLOCK * most_across),
                _up(height * each.down, _BLOCK * most_down),
            )
            if self._is_progressive:
                each.nonzero = [0] * (each.blocks[0] * each.blocks[1])

    def _define_tables(self, body: bytes) -> None:
        at = 0
        while at + 17 <= len(body):
            counts = body[at + 1 : at + 17]
            end = at + 17 + sum(counts)
            self._definitions[body[at]] = counts, body[at + 17 : end]
            at = end

    def _table(self, name: int) -> _Table:
        definition = self._definitions.get(name)
        return [] if definition is None else _table(*definition)

    def _scan(self, header: bytes, start: int) -> int:
        """Check one scan, and return where its data ends."""
        count = header[0]
        chosen = zip(header[1 : 1 + 2 * count : 2], header[2 : 2 + 2 * count : 2], strict=True)
        first, last, bits = header[1 + 2 * count : 4 + 2 * count]
        scan = _Scan([], first, last, bits >> 4, bits & 15)
        for name, tables in chosen:
            dc, ac = self._table(tables >> 4), self._table(tables & 15 | 16)
            scan.parts.append((self._components[name], dc, ac))
        if self._is_progressive:
            self._check_progression(scan)
        following = _END_OF_SCAN.search(self._data, start)
        end = following.start() if following else len(self._data)
        self._check_data(scan, _intervals(self._data, start, end))
        return end

    def _check_progression(self, scan: _Scan) -> None:
        """Raise if the scan does not continue earlier ones (G.1.1.1.2)."""
        for component, _, _ in scan.parts:
            known = component.approximations
            if scan.first and known[0] < 0:
                raise _Broken
            for at in range(scan.first, scan.last + 1):
                if scan.high != max(0, known[at]):
                    raise _Broken
                known[at] = scan.low

    def _check_data(self, scan: _Scan, pieces: Iterator[tuple[int, bytes]]) -> None:
        if len(scan.parts) == 1:
            across, down = scan.parts[0][0].blocks
        else:
            across, down = self._size
        interval = self._interval or across * down
        for begin in range(0, across * down, interval):
            marker, piece = next(pieces, (0, None))
            if piece is None or (begin and marker != _RESTARTS[(begin // interval - 1) % 8]):
                raise _Broken
            bits = _Bits(piece)
            self._units(scan, bits, range(begin, min(begin + interval, across * down)))
            is_last = begin + interval >= across * down
            self._skipped_bytes += 0 if is_last else bits.left // 8
            if not bits.has_met_marker:
                self._skipped_bytes += bits.unread_bytes
                if self._skipped_bytes:
                    raise _Broken
        if any(piece for _, piece in pieces):
            raise _Broken

    def _units(self, scan: _Scan, bits: _Bits, units: range) -> None:
        """Read the minimum coded units of one interval (A.2)."""
        blocks = [
            (dc, ac)
            for component, dc, ac in scan.parts
            for _ in range(1 if len(scan.parts) == 1 else component.across * component.down)
        ]
        if not self._is_progressive:
            for _ in units:
                for dc, ac in blocks:
                    _sequential(bits, dc, ac)
        elif scan.first == 0:
            for _ in units:
                for dc, _ in blocks:
                    bits.take(1 if scan.high else bits.symbol(dc))
        else:
            component, _, ac = scan.parts[0]
            read = _refinement if scan.high else _first_pass
            read(bits, ac, component.nonzero, units, (scan.first, scan.last))


def _up(size: int, unit: int) -> int:
    return -(-size // unit)


@functools.lru_cache(maxsize=8)
def _table(counts: bytes, symbols: bytes) -> _Table:
    """Return a table of codes (annex C). Raises ValueError if they are more than there can be."""
    if sum(count << 16 - length for length, count in enumerate(counts, 1)) > 1 << 16:
        raise ValueError("too many codes")
    table: _Table = []
    at = 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[at : at + count]:
            table += [length << 8 | symbol] * (1 << 16 - length)
        at += count
    return table + [0] * ((1 << 16) - len(table))


def _intervals(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Iterate over the data between restart markers, each with the marker before it."""
    marker, at = 0, start
    for found in _RESTART.finditer(data, start, end):
        yield marker, _unstuffed(data[at : found.start()])
        marker, at = found[1][0], found.end()
    yield marker, _unstuffed(data[at:end].rstrip(b"\xff"))


def _unstuffed(piece: bytes) -> bytes:
    """Remove the 0 after each data byte 0xFF, and fill bytes, which libjpeg skips before it too."""
    if b"\xff\xff" in piece:
        return _STUFFED.sub(b"\xff", piece)
    return piece.replace(b"\xff\0", b"\xff")


def _sequential(bits: _Bits, dc: _Table, ac: _Table) -> None:
    """Read a block (F.2.2)."""
    bits.take(bits.symbol(dc))
    at = 1
    while at <= _LAST:
        symbol = bits.symbol(ac)
        at += (symbol >> 4) + 1
        if symbol & 15:
            bits.take(symbol & 15)
        elif symbol != 0xF0:
            return


def _first_pass(
    bits: _Bits, table: _Table, nonzero: list[int], units: range, band: tuple[int, int]
) -> None:
    """Read blocks of coefficients for the first time (G.1.2.2)."""
    first, last = band
    ended_blocks = 0
    for block in units:
        if ended_blocks:
            ended_blocks -= 1
            continue
        at = first
        while at <= last:
            symbol = bits.symbol(table)
            run = symbol >> 4
            if symbol & 15:
                at += run
                bits.take(symbol & 15)
                nonzero[block] |= 1 << min(at, _LAST)
            elif run < 15:
                ended_blocks = (1 << run) + bits.take(run) - 1
                break
            else:
                at += run
            at += 1


def _refinement(
    bits: _Bits, table: _Table, nonzero: list[int], units: range, band: tuple[int, int]
) -> None:
    """Read one more bit of the coefficients of blocks (G.1.2.3)."""
    first, last = band
    ended_blocks = 0
    for block in units:
        known, at = nonzero[block], first
        while at <= last and not ended_blocks:
            symbol = bits.symbol(table)
            run = symbol >> 4
            if symbol & 15:
                if symbol & 15 != 1:
                    raise _Broken
                bits.take(1)
            elif run < 15:
                ended_blocks = (1 << run) + bits.take(run)
                break
            at = _skip(bits, known, at, last, run)
            if symbol & 15:
                nonzero[block] |= 1 << min(at, _LAST)
            at += 1
        if ended_blocks:
            ended_blocks -= 1
            _skip(bits, known, at, last, _LAST + 1)


def _skip(bits: _Bits, known: int, at: int, last: int, zeros: int) -> int:
    """Read a bit of each coefficient that is not zero, and return where the next zero is."""
    known &= (2 << last) - 1
    while ahead := known >> at:
        gap = (ahead & -ahead).bit_length() - 1
        if zeros < gap:
            return at + zeros
        bits.take(1)
        at, zeros = at + gap + 1, zeros - gap
    return min(at + zeros, last + 1)
