"""Find the damage in strips and tiles that libtiff tells nobody.

libtiff stops reading a strip as soon as its rows are full. So it checks neither the checksum at the
end of Deflate and LZMA, nor whether LZW and PackBits end where the rows do. Runs of fax in one
dimension are checked by ``fax``. A strip without an end is whole if its rows are.

A check never costs more than the file and its pictures do: it reads each byte of the file and each
tile of the picture once, whatever strips overlap, and stops where a strip expands to far more
than its rows.
"""

import lzma
import zlib
from collections.abc import Iterator

import msgspec

from handlers.imaging.tiff import fax
from handlers.imaging.tiff import layout as layouts
from handlers.imaging.tiff.directory import Directory
from handlers.imaging.tiff.layout import Layout

_PIECE_BYTES = 1 << 20
_READ_BYTES = 1 << 16
"""For each piece of output, the decompressor copies the rest of its input, so both are bounded."""

_MAX_LZMA_BYTES = 128 << 20
"""The memory of an LZMA decoder; the highest preset takes 65 MB."""

MAX_LZW_BYTES = 2 << 20
"""Strips of more are not checked any further: a megabyte takes 0.4 s, and libtiff itself finds
most damage of LZW. Of PackBits a megabyte takes 0.2 s at most."""

_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))

_CLEAR, _END, _FIRST = 256, 257, 258
_LONGEST_CODE = 12
_NO_OPERATION = 0x80
_PADDING = (b"", b"\0", b"\x80")


class _Strip(msgspec.Struct, frozen=True):
    """The stored bytes of a strip or tile, and its rows.

    ``most_rows`` is what it may hold: writers fill up the last strip, or do not.
    """

    data: bytes
    rows: int
    most_rows: int
    row_bytes: int

    @property
    def limit(self) -> int:
        """The decoded bytes from which on the strip is not checked any further."""
        return 2 * self.most_rows * self.row_bytes + _PIECE_BYTES

    def pieces(self) -> Iterator[bytes]:
        for at in range(0, len(self.data), _READ_BYTES):
            yield self.data[at : at + _READ_BYTES]

    def may_hold(self, count: int) -> bool:
        """Return whether so many bytes are its rows."""
        if count == self.rows * self.row_bytes:
            return True
        is_within = self.rows * self.row_bytes < count <= self.most_rows * self.row_bytes
        return is_within and count % self.row_bytes == 0


def are_broken(directory: Directory, layout: Layout) -> bool:
    """Return whether a strip or tile is broken although libtiff may have decoded it silently."""
    match layout.compression:
        case layouts.MODIFIED_HUFFMAN | layouts.GROUP_3:
            return _has_broken_fax(directory, layout)
        case layouts.DEFLATE | layouts.OLD_DEFLATE:
            return any(map(_is_broken_deflate, _strips(directory, layout)))
        case layouts.LZMA:
            return any(map(_is_broken_lzma, _strips(directory, layout)))
        case layouts.LZW:
            return _has_broken_lzw(_strips(directory, layout))
        case layouts.PACK_BITS:
            return _has_broken_pack_bits(_strips(directory, layout))
        case _:
            return False


def _strips(directory: Directory, layout: Layout) -> Iterator[_Strip]:
    """Iterate over the strips or tiles of the picture, equal ones once.

    Strips that overlap end it when they have as many bytes as the file.
    """
    left, seen = len(directory.data), set[tuple[int, int, int]]()
    if layout.tiled:
        offsets = directory.numbers(layouts.TILE_OFFSETS)
        sizes = directory.numbers(layouts.TILE_BYTES)
        width, most = directory.number(layouts.TILE_WIDTH), directory.number(layouts.TILE_LENGTH)
        count = -(-layout.height // max(1, most)) * -(-layout.width // max(1, width))
        tops = [0] * (count * (layout.samples if layout.planar else 1))
    else:
        offsets = directory.numbers(layouts.STRIP_OFFSETS)
        sizes = directory.numbers(layouts.STRIP_BYTES)
        width = layout.width
        most = directory.number(layouts.ROWS_PER_STRIP, layout.height)
        a_plane = range(0, layout.height, max(1, most))
        tops = [*a_plane] * (layout.samples if layout.planar else 1)
    row_bytes, per_row = _row(directory, layout, width)
    is_reversed = directory.number(layouts.FILL_ORDER, 1) == 2
    for start, size, top in zip(offsets, sizes, tops, strict=False):
        rows = most if layout.tiled else min(most, layout.height - top)
        if (start, size, rows) in seen:
            continue
        seen.add((start, size, rows))
        left -= min(size, max(0, len(directory.data) - start))
        if left < 0:
            return
        data = directory.data[start : start + size]
        yield _Strip(
            data.translate(_REVERSED) if is_reversed else data,
            -(-rows // per_row),
            -(-most // per_row),
            row_bytes,
        )


def _row(directory: Directory, layout: Layout, width: int) -> tuple[int, int]:
    """Return the bytes of a row, and how many rows of pixels it holds (section 21)."""
    if layout.photometric == layouts.YCBCR and not layout.planar:
        across, down = (*directory.numbers(layouts.SUBSAMPLING), 2, 2)[:2]
        across, down = max(1, across), max(1, down)
        return -(-width // across) * (across * down + 2), down
    samples = 1 if layout.planar else layout.samples
    return (width * samples * layout.bits + 7) // 8, 1


def _is_broken_deflate(strip: _Strip) -> bool:
    inflater, total = zlib.decompressobj(), 0
    try:
        for piece in strip.pieces():
            data = piece
            while data and not inflater.eof:
                total += len(inflater.decompress(data, _PIECE_BYTES))
                data = inflater.unconsumed_tail
                if total > strip.limit:
                    return False
            if inflater.eof:
                return False
    except zlib.error:
        return True
    return not strip.may_hold(total)


def _is_broken_lzma(strip: _Strip) -> bool:
    reader, total = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_LZMA_BYTES), 0
    try:
        for piece in strip.pieces():
            data = piece
            while not reader.eof and (data or not reader.needs_input):
                total += len(reader.decompress(data, _PIECE_BYTES))
                data = b""
                if total > strip.limit:
                    return False
            if reader.eof:
                return False
    except lzma.LZMAError as error:
        return "limit" not in str(error)
    return False


def _has_broken_lzw(strips: Iterator[_Strip]) -> bool:
    left = MAX_LZW_BYTES
    for strip in strips:
        left -= len(strip.data)
        if left < 0:
            return False
        if _is_broken_lzw(strip):
            return True
    return False


def _is_broken_lzw(strip: _Strip) -> bool:
    """Return whether the codes make another number of bytes than the rows have (section 13)."""
    if strip.data[:1] == b"\0" and strip.data[1:2] and strip.data[1] & 1:
        return False  # of an old writer, whose codes begin at the other end of a byte
    total, has_ended = 0, False
    lengths = [1] * _FIRST
    before = ahead = held = 0
    width = 9
    for byte in strip.data:
        ahead = (ahead << 8 | byte) & 0xFFFFFF
        held += 8
        if held < width:
            continue
        held -= width
        code = ahead >> held & (1 << width) - 1
        if code == _END:
            has_ended = True
            break
        if code == _CLEAR:
            del lengths[_FIRST:]
            before, width = 0, 9
            continue
        if before:
            lengths.append(before + 1)
        if code >= len(lengths):
            return True
        before = lengths[code]
        total += before
        # The writers of TIFF change the width one code early.
        width = min(max(9, (len(lengths) + 1).bit_length()), _LONGEST_CODE)
    return not strip.may_hold(total) and (has_ended or total > strip.rows * strip.row_bytes)


def _has_broken_pack_bits(strips: Iterator[_Strip]) -> bool:
    """Return whether runs end elsewhere than the rows do (section 9).

    No run goes across the end of a row. Some writers ignore that: then hardly any row that is not
    of one colour ends with a run.
    """
    together, apart = 0, 0
    for strip in strips:
        total, aligned, crossed, rest = _runs(strip)
        if not strip.may_hold(total) or rest.lstrip(b"\x80") not in _PADDING:
            return True
        together, apart = together + aligned, apart + crossed
    return 0 < apart < together


def _runs(strip: _Strip) -> tuple[int, int, int, bytes]:
    """Return the decoded bytes, how many rows end with a run and how many do not, and the rest."""
    data, end = strip.data, strip.rows * strip.row_bytes
    at = total = aligned = crossed = 0
    row_end, has_literals = strip.row_bytes, False
    while at < len(data) and total < end:
        count = data[at]
        if count < _NO_OPERATION:
            total += count + 1
            at += count + 2
            has_literals = True
        elif count > _NO_OPERATION:
            total += 257 - count
            at += 2
        else:
            at += 1
        if total >= row_end:
            if total > row_end:
                crossed += 1
            elif has_literals:
                aligned += 1
            row_end, has_literals = total + strip.row_bytes - total % strip.row_bytes, False
    rest = data[at:]
    if strip.most_rows > strip.rows and len(rest) > 1:
        return total, aligned, crossed, b""  # the last strip is filled up
    return total, aligned, crossed, rest


def _has_broken_fax(directory: Directory, layout: Layout) -> bool:
    is_group_3 = layout.compression == layouts.GROUP_3
    two_dimensional = is_group_3 and directory.number(layouts.T4_OPTIONS) & 1
    if two_dimensional or layout.tiled:
        return False
    most = directory.number(layouts.ROWS_PER_STRIP, layout.height)
    places = zip(
        directory.numbers(layouts.STRIP_OFFSETS),
        directory.numbers(layouts.STRIP_BYTES),
        range(0, layout.height, max(1, most)),
        strict=False,
    )
    left = fax.MAX_BYTES
    for start, size, top in places:
        data = directory.data[start : start + min(size, fax.MAX_BYTES + 1)]
        left -= len(data)
        if left < 0:
            return False
        rows = min(most, layout.height - top)
        is_reversed = directory.number(layouts.FILL_ORDER, 1) == 2
        if fax.is_broken(
            data,
            layout.width,
            rows,
            reversed_bits=is_reversed,
            has_ends_of_lines=is_group_3,
        ):
            return True
    return False
