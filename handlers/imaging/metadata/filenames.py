"""Read the time that cameras, phones and messengers put into the names of files.

Only names that software makes count: a date that a person typed may be any date.
"""

import re

import msgspec

from handlers.imaging.metadata.moments import Moment, parse

_LONGEST = 255

_FULL = re.compile(
    r"(?<!\d)(?P<year>(?:19[89]|20)\d)(?P<last>\d)(?P<dash>[-._]?)"
    r"(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
    r"(?:[-_ T]+|[, ]+[a-zà-ÿ]{1,3}[. ]+)?"
    r"(?P<hour>\d{1,2})(?P<colon>[-._ :꞉∶h]?)(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d))"
    r"(?:[-._]?(?P<fraction>\d{3}))?(?!\d)"
    r"(?:[ \u00a0\u202f]?(?P<half>[AaPp][Mm])\b)?",
    re.ASCII,
)
"""``IMG_20240131_120000``, ``Screenshot_20240131-120000``, ``2024-01-31 12.00.00``,
``Screenshot 2024-01-31 at 12.00.00``, ``signal-2024-01-31-120000``, and others like them."""

_DAY = re.compile(
    r"(?:(?:IMG|VID|PTT|AUD|STK)-(?P<sent>\d{8})-WA\d+|(?:IMG|PXL|MVIMG|PANO|BURST)_(?P<made>\d{8}))"
    r"(?!\d|_\d{6})",
    re.IGNORECASE | re.ASCII,
)
"""``IMG-20240131-WA0001`` of WhatsApp, the day on which it came, and names of cameras."""


def moment(filename: str) -> Moment | None:
    """Return the moment in the name; None if there is none.

    It is local time, except in the names of Pixel phones (``PXL_``), which are in UTC.
    """
    name = filename[-_LONGEST:]
    if found := _FULL.search(name):
        return _full(found, is_utc=name.upper().startswith("PXL_"))
    if found := _DAY.match(name):
        return parse(found["sent"] or found["made"])
    return None


def _full(found: re.Match[str], *, is_utc: bool) -> Moment | None:
    part = found.groupdict()
    day = f"{part['year']}{part['last']}-{part['month']}-{part['day']}"
    clock = f"{part['hour']}:{part['minute']}:{part['second']} {part['half'] or ''}"
    read = parse(f"{day} {clock}")
    if read is None or read.time is None:
        return None  # digits that no clock shows are no time, and maybe no day
    return msgspec.structs.replace(
        read, subseconds=part["fraction"], offset="+00:00" if is_utc else None
    )
