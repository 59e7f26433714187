"""Names the segments, or their folder, in the errors about them."""

from collections.abc import Generator
from contextlib import contextmanager

from store.errors import ArchiveAway, BadSegment, Corrupt, Missing, Unavailable
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
    """Add key and position of the segment: to Corrupt and Missing as BadSegment, to Unavailable as
    ArchiveAway. Other kinds of Unavailable stay, because they say more than where."""
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
        if type(error) is not Unavailable:
            raise
        raise ArchiveAway(f"{where}: {error}", where) from error


@contextmanager
def listing(folder: str) -> Generator[None]:
    """Add the folder to Unavailable, as ``named`` does."""
    try:
        yield
    except Unavailable as error:
        if type(error) is not Unavailable:
            raise
        where = f"the list of segments in {folder}"
        raise ArchiveAway(f"{where}: {error}", where) from error
