"""What a client uses is the sum over its photos."""

from domain.clients.usage import NOTHING, Usage

SMALL = Usage(photos=1, bytes=300, jobs=2)
LARGE = Usage(photos=40, bytes=5_000, jobs=9)


def test_usage_is_added_and_subtracted_count_by_count() -> None:
    assert Usage(photos=41, bytes=5_300, jobs=11) == SMALL + LARGE
    assert Usage(photos=39, bytes=4_700, jobs=7) == LARGE - SMALL
    assert SMALL + NOTHING == SMALL - NOTHING == SMALL
