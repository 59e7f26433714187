"""Times in the queries of lists."""

import re
from datetime import UTC, datetime

from domain.moments import iso
from gateway.http.problems import Refused

# The dates and date-times of RFC 3339, and times without an offset. fromisoformat accepts other
# forms and any number of digits.
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d([T+]\d\d:\d\d(:\d\d([.,]\d{1,20})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)


def parse_time(text: str | None) -> str | None:
    """Return the time as events write it, so that text sorts as time; without an offset, in UTC.

    Raises:
        Refused: ``invalid-time``.
    """
    if text is None:
        return None
    detail = f"{text[:40]!r} is not an ISO 8601 time."
    written = text.upper().replace(" ", "+")  # an unescaped "+" arrives as a blank
    if not _TIME.fullmatch(written):
        raise Refused("invalid-time", detail)
    try:
        moment = datetime.fromisoformat(written)
        return iso(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise Refused("invalid-time", detail) from error
