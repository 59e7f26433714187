"""Check the codes of fax in one dimension: Group 3 (ITU-T T.4, 4.1) and TIFF's compression 2.

libtiff tells nobody when the runs of a row add up to another length than that of a row, which is
how nearly all damage shows in these codes. Those of two dimensions it checks itself.
"""

import itertools
import re

# Tables 2, 3a and 3b: runs of 0 to 63, of 64 to 1728 in steps of 64, and on to 2560.
_WHITE = (
    "00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 "
    "110100 110101 101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 "
    "0101011 0010011 0100100 0011000 00000010 00000011 00011010 00011011 00010010 00010011 "
    "00010100 00010101 00010110 00010111 00101000 00101001 00101010 00101011 00101100 "
    "00101101 00000100 00000101 00001010 00001011 01010010 01010011 01010100 01010101 "
    "00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 00110010 "
    "00110011 00110100"
)
_WHITE_MAKE_UP = (
    "11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 "
    "011001100 011001101 011010010 011010011 011010100 011010101 011010110 011010111 "
    "011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000 010011011"
)
_BLACK = (
    "0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 "
    "00000111 000011000 0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 "
    "00000110111 00000101000 00000010111 00000011000 000011001010 000011001011 000011001100 "
    "000011001101 000001101000 000001101001 000001101010 000001101011 000011010010 "
    "000011010011 000011010100 000011010101 000011010110 000011010111 000001101100 "
    "000001101101 000011011010 000011011011 000001010100 000001010101 000001010110 "
    "000001010111 000001100100 000001100101 000001010010 000001010011 000000100100 "
    "000000110111 000000111000 000000100111 000000101000 000001011000 000001011001 "
    "000000101011 000000101100 000001011010 000001100110 000001100111"
)
_BLACK_MAKE_UP = (
    "0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 "
    "0000001101100 0000001101101 0000001001010 0000001001011 0000001001100 0000001001101 "
    "0000001110010 0000001110011 0000001110100 0000001110101 0000001110110 0000001110111 "
    "0000001010010 0000001010011 0000001010100 0000001010101 0000001011010 0000001011011 "
    "0000001100100 0000001100101"
)
_EXTENDED = (
    "00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 "
    "000000010110 000000010111 000000011100 000000011101 000000011110 000000011111"
)

_END_OF_LINE = re.compile("0{11,}1")
_BYTES = [f"{value:08b}" for value in range(256)]
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))

MAX_BYTES = 1 << 20
"""More of a file is not checked: a megabyte takes 0.8 s. A page of a fax has 50,000."""


def _codes(runs: str, make_up: str) -> tuple[dict[str, int], re.Pattern[str]]:
    """Return the length of each code, and a pattern of a run: make-up codes and a last one."""
    longer = [*make_up.split(), *_EXTENDED.split()]
    lengths = {code: length for length, code in enumerate(runs.split())}
    lengths |= {code: 64 * (at + 1) for at, code in enumerate(longer)}
    return lengths, re.compile("|".join(lengths))


_COLOURS = (_codes(_WHITE, _WHITE_MAKE_UP), _codes(_BLACK, _BLACK_MAKE_UP))


def is_broken(
    data: bytes, width: int, rows: int, *, reversed_bits: bool, has_ends_of_lines: bool
) -> bool:
    """Return whether a row of the strip has a bad code, or is longer or shorter than ``width``.

    Rows begin after an end of line, or else at a byte. A strip of Group 3 that does not begin with
    an end of line is not checked: some writers leave them out.
    """
    if reversed_bits:
        data = data.translate(_REVERSED)
    bits = "".join(map(_BYTES.__getitem__, data))
    at = 0
    for row in range(rows):
        if has_ends_of_lines:
            line = _END_OF_LINE.match(bits, at)
            if line is None:
                return row > 0
            at = line.end()
        found = _row(bits, at, width)
        if found is None:
            return True
        at = found if has_ends_of_lines else found + -found % 8
    return False


def _row(bits: str, at: int, width: int) -> int | None:
    """Return where the row that begins at ``at`` ends; None if it is broken."""
    left = width
    for lengths, pattern in itertools.cycle(_COLOURS):
        length = 64
        while length >= 64:  # make-up codes come before the last code of a run
            code = pattern.match(bits, at)
            if code is None:
                return None
            length = lengths[code[0]]
            left -= length
            at = code.end()
        if left <= 0:
            return at if left == 0 else None
    return None
