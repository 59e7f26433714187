"""Read points in time as cameras, phones and editors write them.

EXIF 3.0 (4.6.5) asks for ``2010:05:01 12:00:00``; files also have slashes, dashes, ISO 8601,
fractions of a second, offsets, times of twelve hours, and padding. A time that no clock shows
leaves the day, which is known.
"""

import re
from datetime import date, datetime, time

import msgspec

_LONGEST = 64
"""No point in time takes more characters."""

_OFFSET = r"(?P<offset>Z|UTC|GMT|[+-]\d{1,2}(?::?[0-5]\d)?)"
_CLOCK = (
    r"(?P<hour>\d{1,2})(?:"
    r" ?(?P<separator>[:.\-]) ?(?P<minute>\d{1,2})"
    r"(?: ?(?P=separator) ?(?P<second>\d{1,2})(?:[.,](?P<fraction>\d{1,12}))?)?"
    r"|(?P<minute2>\d\d)(?P<second2>\d\d)?(?:[.,](?P<fraction2>\d{1,12}))?)"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_DAY = (
    r"(?P<year>\d{4})(?: ?[:/.\-] ?(?P<month>\d{1,2}) ?[:/.\-] ?(?P<day>\d{1,2})"
    r"|(?P<month2>\d\d)(?P<day2>\d\d))"
)
_WHEN = re.compile(rf"{_DAY}(?:(?: ?T ?| +|:(?=\d\d:)){_CLOCK}(?: ?{_OFFSET})?)?", re.ASCII)
_BEGINS_WITH_DAY = re.compile(rf"{_DAY}[ T:].*", re.ASCII | re.DOTALL)
_PARTIAL = re.compile(r"(?P<year>\d{4})(?:-(?P<month>\d\d))?", re.ASCII)
_CTIME = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? (?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) "
    r"(?P<clock>\d\d:\d\d:\d\d) (?P<year>\d{4})",
    re.IGNORECASE | re.ASCII,
)
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A point in time, as exactly as its source gives it.

    ``date`` is ``2010-05-01``, or ``2010-05`` or ``2010`` if no more is known; ``time`` is
    ``12:00:00`` or ``12:00``, None if only the day is known. ``subseconds`` are the digits after
    the second; ``offset`` is that from UTC, ``+02:00``, None for a local time.
    """

    date: str
    time: str | None = None
    subseconds: str | None = None
    offset: str | None = None

    @property
    def text(self) -> str:
        """The moment in ISO 8601, to the second."""
        return self.date if self.time is None else f"{self.date}T{self.time}{self.offset or ''}"

    @property
    def has_seconds(self) -> bool:
        return self.time is not None and len(self.time) == 8

    @property
    def wall(self) -> datetime:
        """What calendar and clock show, of a moment that has a time."""
        return datetime.fromisoformat(f"{self.date}T{self.time}")

    @property
    def subsecond_ms(self) -> float | None:
        """The time since the full second, to the microsecond."""
        return None if self.subseconds is None else round(1000 * float(f"0.{self.subseconds}"), 3)


def parse(text: str, *, partial: bool = False) -> Moment | None:
    """Return the moment that the text names; None if it names no day that has been.

    A clock that cannot be read or that is impossible, such as ``24:00:00``, is left out. The second
    60 leaves the minute: it may be a leap second.

    ``partial`` allows a year, or a year and a month, as XMP does. Years of 0 and 1 are what clocks
    that were never set write.
    """
    text = text.strip()[:_LONGEST]
    if found := _CTIME.fullmatch(text):
        return parse(_from_ctime(found))
    if found := _WHEN.fullmatch(text) or _BEGINS_WITH_DAY.fullmatch(text):
        return _moment(found.groupdict())
    if partial and (found := _PARTIAL.fullmatch(text)):
        year, month = found.groups()
        is_real = int(year) > 1 and (month is None or 1 <= int(month) <= 12)
        return Moment(date="-".join(filter(None, (year, month)))) if is_real else None
    return None


def parse_offset(text: str) -> str | None:
    """Return an offset as ``+02:00``, -12:00 to +14:00; None if the text is something else."""
    text = text.strip()
    if text in ("Z", "UTC", "GMT"):
        return "+00:00"
    found = re.fullmatch(r"([+-])(\d{1,2})(?::?([0-5]\d))?", text, re.ASCII)
    if found is None:
        return None
    minutes = int(found[1] + found[2]) * 60 + int(found[1] + (found[3] or "0"))
    if not -12 * 60 <= minutes <= 14 * 60:
        return None
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


def _moment(part: dict[str, str | None]) -> Moment | None:
    month, day = part["month"] or part["month2"], part["day"] or part["day2"]
    try:
        found = date(int(part["year"] or 0), int(month or 0), int(day or 0))
    except ValueError:
        return None
    if found.year <= 1:
        return None
    return _timed(Moment(date=found.isoformat()), part)


def _timed(day: Moment, part: dict[str, str | None]) -> Moment:
    """Return the moment of the day, or the day alone if no clock shows such a time."""
    minute, second = part.get("minute") or part.get("minute2"), part.get("second")
    second = second or part.get("second2")
    if minute is None:
        return day
    is_leap = second == "60"
    try:
        clock = time(
            _hour(int(part["hour"] or 0), part["half"]), int(minute), int(second or 0) - is_leap
        )
    except ValueError:
        return day
    has_seconds = second is not None and not is_leap
    return msgspec.structs.replace(
        day,
        time=clock.isoformat("seconds" if has_seconds else "minutes"),
        subseconds=(part["fraction"] or part["fraction2"]) if has_seconds else None,
        offset=part["offset"] and parse_offset(part["offset"]),
    )


def _hour(hour: int, half: str | None) -> int:
    """Return the hour of the day; one that no clock shows stays impossible."""
    if half is None or not 1 <= hour <= 12:
        return hour
    return hour % 12 + 12 * (half in "Pp")


def _from_ctime(found: re.Match[str]) -> str:
    month = _MONTHS.find(found["month"].capitalize()) // 3 + 1
    return f"{found['year']}-{month}-{found['day']} {found['clock']}"
