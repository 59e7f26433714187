"""A clock that a test moves, and times relative to now."""

from datetime import UTC, datetime, timedelta


class Clock:
    """Return seconds that change only when a test moves them; ``looks`` counts the calls."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now_s


_BEGAN = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def days_ago(days: int) -> str:
    """Return the midnight in UTC that many days before the one on which the tests began.

    For what is forgotten after some time: a fixed date would be recent only for a while.
    """
    return f"{_BEGAN - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
