"""Moments as events record them."""

from datetime import UTC, datetime


def iso(moment: datetime) -> str:
    """Return the moment in UTC, to the millisecond, ending in ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
