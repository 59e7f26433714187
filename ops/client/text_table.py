"""Tables for people that fit the terminal, and text that wraps between words.

A word, such as an id, is never broken or cut off, so that it can be copied. Where the columns of a
row do not fit beside each other, the row continues on indented lines. Without a terminal, each row
is one line.
"""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

import msgspec
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ops.event_format import printable

WIDE = 1_000_000
"""The width of a table without a terminal."""

UNKNOWN = "–"
GAP = "  "

NARROWEST_TEXT = 24
"""A text wraps beside other columns only if it has so many columns of the terminal."""


def columns() -> int:
    """Return the width of the terminal, or ``WIDE`` without one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE


def console() -> Console:
    """Return the console that tables are printed to."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=columns())


class table:  # noqa: N801 # it is used like a function
    """A table as rich prints it; numbers are aligned at their end, and None is a dash."""

    def __init__(self, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self._heads = heads
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        layout = Layout.of(self._heads, self._rows, options.max_width)
        yield from (_line(each, "bold") for each in layout.lines(self._heads))
        for row in self._rows:
            yield from (_line(each) for each in layout.lines(row))


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ignore")


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where the cells of a row go: each of the ``groups`` is a line, with these of the cells."""

    groups: list[list[int]]
    widths: list[int]
    numbers: list[bool]

    @classmethod
    def of(
        cls,
        heads: Sequence[str],
        rows: Sequence[Sequence[object]],
        width: int,
        least: Sequence[int] = (),
    ) -> "Layout":
        """Lay out a table of at most ``width`` columns; ``least`` are the least widths of cells."""
        widths = [cell_len(head) for head in heads]
        widths[: len(least)] = [max(pair) for pair in zip(widths, least, strict=False)]
        for row in rows:
            widths = [max(now, cell_len(_cell(x))) for now, x in zip(widths, row, strict=True)]
        longest_word = max(
            (cell_len(word) for row in rows for word in _cell(row[-1]).split()), default=0
        )
        groups: list[list[int]] = [[]]
        used = 0  # columns of the line before the next cell
        for at, wanted in enumerate(widths):
            room = width - used
            wraps = at == len(widths) - 1 and room >= max(NARROWEST_TEXT, longest_word)
            fits = wanted <= room or wraps
            if groups[-1] and not fits:
                groups.append([])
                used = len(GAP)
            groups[-1].append(at)
            widths[at] = max(1, min(wanted, width - used))
            used += widths[at] + len(GAP)
        numbers = [
            bool(rows) and all(isinstance(row[at], int | None) for row in rows)
            for at in range(len(heads))
        ]
        return cls(groups=groups, widths=widths, numbers=numbers)

    def lines(self, row: Sequence[object]) -> Iterator[str]:
        """Yield the lines of the row; a further line that would only have dashes is left out."""
        for number, group in enumerate(self.groups):
            if number and all(row[at] is None for at in group):
                continue
            cells = [wrapped(_cell(row[at]), self.widths[at]) for at in group]
            for line in range(max(map(len, cells))):
                parts = [
                    self._padded(at, cell[line] if line < len(cell) else "")
                    for at, cell in zip(group, cells, strict=True)
                ]
                text = GAP.join(parts).rstrip()
                if text or number == 0:
                    yield GAP + text if number else text

    def _padded(self, at: int, text: str) -> str:
        padding = " " * (self.widths[at] - cell_len(text))
        return padding + text if self.numbers[at] else text + padding


def _cell(value: object) -> str:
    return UNKNOWN if value is None else printable(value)


def wrapped(text: str, width: int) -> list[str]:
    """Return the text in lines of at most ``width``, unless a word is longer."""
    if cell_len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def hanging(start: str, text: str, width: int | None = None) -> str:
    """Return ``text`` after ``start``, wrapped to the terminal; further lines stand below it."""
    room = (columns() if width is None else width) - cell_len(start)
    return start + ("\n" + " " * cell_len(start)).join(wrapped(text, room))


def moment(time: str | None) -> str | None:
    """Return the time in UTC, to the second."""
    return None if time is None else time[:19].replace("T", " ")
