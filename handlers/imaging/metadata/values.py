"""Read texts and numbers out of values that may have any type and any content."""

import codecs
import math
import re
from fractions import Fraction

from handlers.imaging.metadata.tiff_directory import Number, Value

MAX_NAME = 200
MAX_TEXT = 2_000
"""The most characters of a name, such as that of a lens, and of a text, such as a caption."""

# A decoder process cannot load a codec later, because it cannot open files.
codecs.lookup("cp1252")

_BREAK = re.compile(r"\r\n|[\r\n\t\u2028\u2029]")

_NOTHING = re.compile(
    r"(?:[\s\-–—_.,*?/:;#0]|\bmm\b|\bf/)*"
    r"|[\s(<\[]*(?:unknown|n/?a|none|null|undefined|not available|no lens|unknown lens|default)"
    r"[\s)>\].]*(?:\(0\))?",
    re.IGNORECASE,
)
"""What cameras write when they know nothing: blanks, dashes, zeros, ``---- mm f/----``."""


def decode(raw: bytes) -> str:
    """Decode UTF-8 where it is valid, and Latin-1 otherwise, as Windows extends it.

    EXIF 3.0 has a type for UTF-8. Files store it under ASCII as well, which has no encoding for
    other bytes; Latin-1 is what older software wrote. Windows has letters and quotation marks
    where Latin-1 has controls.
    """
    for codec in ("utf-8", "cp1252"):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def tidy(text: str, longest: int) -> str | None:
    """Return the text in one line, without unprintable characters and padding; None if nothing is
    left."""
    line = _BREAK.sub(" ", text[: 4 * longest])
    return "".join(filter(str.isprintable, line)).strip()[:longest].strip() or None


def text(value: Value | None, longest: int = MAX_NAME) -> str | None:
    """Return the text up to its first NUL, without padding; None if nothing is left of it."""
    if not isinstance(value, bytes):
        return None
    return tidy(decode(value.split(b"\0")[0]), longest)


def known(name: str | None) -> str | None:
    """Return the name, unless it only says that it is not known."""
    return None if name is None or _NOTHING.fullmatch(name) else name


def numbers(value: Value | None) -> tuple[Number | None, ...]:
    """Return all numbers of the value; a single byte is a number too, a text is none."""
    if isinstance(value, bytes):
        return tuple(value) if len(value) == 1 else ()
    return value or ()


def number(value: Value | None) -> Number | None:
    """Return the number, or the first one of several."""
    return next(iter(numbers(value)), None)


def integer(value: Value | None) -> int | None:
    """Return the whole number, of whatever type; None if it has a fraction."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def fraction(value: Value | None) -> Fraction | None:
    found = number(value)
    return None if found is None else Fraction(found)


def positive(value: Value | None, below: float = 1e6) -> float | None:
    """Return a measure of more than 0 and less than ``below``, to two decimals."""
    found = number(value)
    return rounded(found) if found is not None and 0 < found < below else None


def rounded(exact: Number, decimals: int = 2) -> float:
    """Return the number to so many decimals; halves are rounded away from zero, never to -0."""
    scale = 10**decimals
    size = math.floor(abs(Fraction(exact)) * scale + Fraction(1, 2))
    return (-size if exact < 0 else size) / scale if size else 0.0
