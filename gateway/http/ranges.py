"""Range requests (RFC 9110, section 14), as far as files need them."""

import re

import msgspec

_BYTES = re.compile(r"bytes\s*=\s*(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


class Range(msgspec.Struct, frozen=True):
    """``length`` bytes from ``start`` on; there is at least one."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


class Unsatisfiable(Exception):
    """The range begins behind the end of the file, or asks for its last 0 bytes."""


def parse_range(header: str | None, size: int) -> Range | None:
    """The part of a file of ``size`` bytes that is asked for; None for all of it.

    Several ranges, and what is not understood, get the whole file, as section 14.2 allows.

    Raises:
        Unsatisfiable: no byte of the file is in the range.
    """
    match = _BYTES.fullmatch(header) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
        if last and int(last) < start:
            return None
    if start > end:
        raise Unsatisfiable
    return Range(start, end - start + 1)


def still_holds(if_range: str | None, etag: str | None) -> bool:
    """Return whether the range is one of this very file.

    A date never tells: two renditions can be made within its second (section 13.1.5).
    """
    return if_range is None or if_range == etag
