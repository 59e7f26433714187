"""What readers of the log need of the archive; ``store.archive`` implements it.

| key | type | what |
|---|---|---|
| ``photolog:{07}:trimmed`` | string | the position up to which events left the stream |
| ``photolog:{07}:doubted`` | string | the key of a segment that a reader could not use |

The step that removes entries from a stream writes this key, so a reader that looks at it after it
has read the stream sees every removal that could have made a gap in what it read. Readers take
events at or before that position from the archive. If the key is lost, the counters of the stream
still say that entries were removed: readers stop until the archiver has found the position again.
If single entries were deleted too, the archive tells whether others were trimmed.

A reader that finds a segment damaged, missing or foreign says so in ``doubted``. The archiver reads
that segment back soon, instead of in its turn, and reports it until it can be used.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from store.errors import Unavailable
from store.log.position import Position

Entries = list[tuple[bytes, dict[bytes, bytes]]]
"""Entries of one stream, each with its id and its fields."""

Page = Sequence[tuple[bytes, Sequence[bytes]]]
"""Entries of one stream, each with its id, and its fields and values in turn: as they are sent."""


class Sealed(NamedTuple):
    """The bytes of a segment, its name, and what they must be: not checked yet."""

    name: str
    data: bytes
    sha256: str
    last: Position


class Archived(Protocol):
    """The events that are sealed in the archive. Errors name the segment and the position."""

    async def sealed(self, after: Position) -> Sealed:
        """Return the segment with the next entry after the position; raises as ``page``."""
        ...

    async def segments(self, after: Position, upto: Position) -> int:
        """Return how many segments have the entries between the positions, about.

        Raises:
            Unavailable: the blob store does not answer.
        """
        ...

    async def page(self, after: Position, count: int) -> Page:
        """Return the next entries after the position, at most ``count`` and at least one.

        Raises:
            BadSegment: a segment is damaged, missing, or belongs to another log.
            Unavailable: the blob store does not answer.
        """
        ...

    async def of_photo(self, partition: int, photo_id: str) -> tuple[Entries, Position]:
        """Return the photo's sealed entries, and the position up to which there could be any.

        Raises as ``page``.
        """
        ...

    async def has_before(self, first: Position) -> bool:
        """Return whether a whole segment ends before the position; raises as ``page``."""
        ...


class NoArchive:
    """The archive of a process that has not opened one."""

    async def sealed(self, after: Position) -> Sealed:
        raise Unavailable(f"the events after {after} are in the archive, which is not open here")

    async def segments(self, after: Position, upto: Position) -> int:  # noqa: ARG002
        return 0

    async def page(self, after: Position, count: int) -> Page:  # noqa: ARG002
        raise Unavailable(f"the events after {after} are in the archive, which is not open here")

    async def of_photo(self, partition: int, photo_id: str) -> tuple[Entries, Position]:  # noqa: ARG002
        return [], Position.start(partition)

    async def has_before(self, first: Position) -> bool:  # noqa: ARG002
        return False


def trimmed_of(partition: int, value: bytes | None) -> Position:
    """Return the position in the value of ``trimmed``, the start if it has none."""
    try:
        position = Position.parse((value or b"").decode("ascii", "replace"))
    except ValueError:
        return Position.start(partition)
    return position if position.partition == partition else Position.start(partition)
