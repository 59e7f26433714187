"""Names the segments, or their folder, in the errors about them."""

from collections.abc import Generator
from contextlib import contextmanager

from store.errors import BadSegment, Corrupt, Missing, Unavailable
from store.log.position import Position

FOLDER = "log/segments"


def ends_early(end: Position, trimmed: Position) -> str:
    """Return what is wrong with an archive that ends before events that have left the stream."""
    return (
        f"the archive ends at {end}, but events up to {trimmed} have left the stream: segments are "
        f"missing in {FOLDER}/{end.partition:02d}; bring them back from a backup"
    )


@contextmanager
def named(key: str, first: Position) -> Generator[None]:
    """Turn Corrupt and Missing into BadSegment with key and position of the segment.

    Unavailable gets them too; its subclasses stay, because they say more than where.
    """
    where = f"segment {key}, from {first} on"
    try:
        yield
    except BadSegment:
        raise
    except Missing as error:
        raise BadSegment(f"{where}: it is missing", key) from error
    except Corrupt as error:
        raise BadSegment(f"{where}: {error}", key) from error
    except Unavailable as error:
        if type(error) is not Unavailable or str(error).startswith("segment "):
            raise
        raise Unavailable(f"{where}: {error}") from error


@contextmanager
def listing(folder: str) -> Generator[None]:
    """Name the folder in Unavailable."""
    try:
        yield
    except Unavailable as error:
        if type(error) is not Unavailable:
            raise
        raise Unavailable(f"the segments in {folder} cannot be listed: {error}") from error
