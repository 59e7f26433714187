"""How events write down times."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from domain.moments import iso


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 11, 23, 10, tzinfo=UTC), "2026-11-23T10:00:00.000Z"),
        (datetime(2026, 11, 23, 10, 0, 0, 123_999, tzinfo=UTC), "2026-11-23T10:00:00.123Z"),
        (
            datetime(2026, 11, 23, 0, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2026-11-22T19:00:00.000Z",
        ),
    ],
)
def test_a_time_is_written_in_utc_with_whole_milliseconds(moment: datetime, written: str) -> None:
    assert iso(moment) == written
