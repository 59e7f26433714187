import pytest

from store.log.position import Position


def test_a_position_parses_its_own_text() -> None:
    position = Position(7, 1795300000000, 12)
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    ["", "0", "0:1", "0:1-", "a:1-1", "0:1-1 ", "-1:1-1", "0:1-1\n", "٠:1-1", "0:" + "9" * 99],
)
def test_other_text_is_not_a_position(text: str) -> None:
    with pytest.raises(ValueError, match="is not a position"):
        Position.parse(text)


def test_positions_of_a_partition_are_ordered_as_numbers() -> None:
    assert Position(0, 9, 0) < Position(0, 10, 0) < Position(0, 10, 2) < Position(0, 10, 11)
