"""Parse range requests (RFC 9110, section 14), as far as files need them."""

import re

import msgspec

_BYTES = re.compile(r"bytes\s*=\s*(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


class Range(msgspec.Struct, frozen=True):
    """A range of ``length`` bytes, at least one, from ``start`` on."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


class Unsatisfiable(Exception):
    """The range begins after the end of the file, or asks for its last 0 bytes."""


def parse_range(header: str | None, size: int) -> Range | None:
    """Return the requested part of a file of ``size`` bytes; None for the whole file.

    Multiple ranges and unknown syntax get the whole file, as section 14.2 allows.

    Raises:
        Unsatisfiable: the range contains no byte of the file.
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
    """Return whether the range belongs to exactly this file.

    A date never matches: two renditions can be made within one second (section 13.1.5).
    """
    return if_range is None or if_range == etag
