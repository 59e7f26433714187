"""Tables fit the terminal, and ids can be copied from them."""

import io
import uuid
from collections.abc import Sequence

import pytest
from rich.console import Console

from ops.client.text_table import hanging, table

ID = str(uuid.uuid4())
HEADS = ("Time (UTC)", "Status", "Client", "Priority", "Job", "Why")
ROW = ("2026-11-23 10:00:00", "failed", "a-client-with-a-name", 5, ID, "the disk is full " * 9)


def shown(width: int, heads: Sequence[str], *rows: Sequence[object]) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    with console.capture() as said:
        console.print(table(heads, rows))
    return said.get().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_a_table_fits_and_breaks_no_word(width: int) -> None:
    lines = shown(width, HEADS, ROW, ROW)

    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    assert words.count(ID) == 2
    assert [word for word in words if word not in " ".join(map(str, (*HEADS, *ROW))).split()] == []
    assert "".join(words).count("full") == 18


def test_a_row_that_fits_is_one_line_with_aligned_columns() -> None:
    assert shown(80, ("Name", "Tasks", "Since"), ("a", 5, None), ("longer", 1_200, "now")) == [
        "Name    Tasks  Since",
        "a           5  –",
        "longer   1200  now",
    ]


def test_a_column_that_does_not_fit_beside_the_others_stands_on_a_line_below() -> None:
    heads, row = ("Client", "Photo", "Job"), ("ann", ID, ID)

    assert shown(80, heads, row) == [
        f"Client  Photo{' ' * 31}".rstrip(),
        "  Job",
        f"ann     {ID}",
        f"  {ID}",
    ]


def test_an_id_that_is_longer_than_the_terminal_stays_whole_in_a_text() -> None:
    assert hanging("photo: ", f"{ID} is there", 20) == f"photo: {ID}\n       is there"
