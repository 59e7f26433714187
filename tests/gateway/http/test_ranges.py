import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.ranges import Range, Unsatisfiable, parse_range, still_holds


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", Range(0, 1)),
        ("bytes=0-9", Range(0, 10)),
        ("bytes=9-9", Range(9, 1)),
        ("bytes=3-", Range(3, 7)),
        ("bytes=3-99", Range(3, 7)),
        ("bytes=-4", Range(6, 4)),
        ("bytes=-99", Range(0, 10)),
        ("Bytes=1-2", Range(1, 2)),
    ],
)
def test_a_range_is_parsed_as_section_14_1_2_says(header: str, expected: Range) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=--1"),
        *("lines=0-1", "bytes=0-1,3-4", "bytes=1-٣", "bytes=1_0-20", "bytes=" + "9" * 40 + "-"),
    ],
)
def test_anything_but_a_single_range_requests_the_whole_file(header: str | None) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_without_bytes_of_the_file_is_unsatisfiable(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 10)


@given(st.text(max_size=30) | st.from_regex(r"bytes=\d{0,20}-\d{0,20}"), st.integers(1, 10**9))
def test_any_header_gives_a_part_of_the_file_or_none(header: str, size: int) -> None:
    try:
        part = parse_range(header, size)
    except Unsatisfiable:
        return

    if part is not None:
        assert part.length >= 1
        assert 0 <= part.start < part.start + part.length <= size


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 10**7))
def test_a_range_within_the_file_is_returned_as_requested(
    start: int, length: int, size: int
) -> None:
    header = f"bytes={start}-{start + length - 1}"

    if start < size:
        assert parse_range(header, size) == Range(start, min(length, size - start))


@pytest.mark.parametrize(
    ("header", "holds"),
    [(None, True), ('"a"', True), ('W/"a"', False), ("Tue, 24 Nov 2026 10:00:00 GMT", False)],
)
def test_a_range_is_valid_for_exactly_one_file(header: str | None, *, holds: bool) -> None:
    assert still_holds(header, '"a"') is holds
