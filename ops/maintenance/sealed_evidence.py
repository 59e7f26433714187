"""Compare the log with its archive: sealed events that are still in Redis must be as sealed."""

from collections.abc import Mapping

import msgspec

from store.archive.archive import Archive
from store.archive.comparing import Difference, differences
from store.errors import Corrupt, Unavailable
from store.log.log import Log
from store.log.position import Position


class Tampered(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event that differs between Redis and the ``segment``; ``chain`` is its photo, or empty."""

    position: str
    type: str
    chain: str
    segment: str
    problem: str


class Evidence(msgspec.Struct, kw_only=True, rename="camel"):
    """The differences found. ``unusable`` says why segments are no evidence: they are damaged.

    ``unread`` says why the archive could not be asked at all; None if it could.
    """

    tampered: list[Tampered] = []
    unusable: list[str] = []
    unread: str | None = None

    @property
    def well(self) -> bool:
        return not (self.tampered or self.unusable)


async def compare(
    log: Log,
    archive: Archive,
    *,
    only: str | None = None,
    upto: Mapping[int, Position] | None = None,
) -> Evidence:
    """Compare all events, or those of the photo ``only``, up to the positions ``upto``.

    Raises:
        Unavailable: Redis does not answer.
    """
    found = Evidence()
    ends: Mapping[int, Position] = {} if upto is None else upto
    for partition in range(log.partitions):
        try:
            places = await archive.places(partition)
            for at in range(len(places)):
                end = ends.get(partition)
                if end is not None and places[at].first > end:
                    break
                try:
                    differing = await differences(log, archive, places, at)
                except Corrupt as error:
                    found.unusable.append(str(error))
                    continue
                found.tampered += (
                    tampered(each)
                    for each in differing
                    if (end is None or each.position <= end) and only in (None, _chain(each))
                )
        except Unavailable as error:
            await log.confirm(partition)  # if Redis is away, too, this says so
            found.unread = str(error)
            break
    return found


def tampered(each: Difference) -> Tampered:
    """Return the difference as reports show it."""
    return Tampered(
        position=str(each.position),
        type=_field(each, b"t"),
        chain=_chain(each),
        segment=each.segment,
        problem=each.problem,
    )


def _chain(each: Difference) -> str:
    return _field(each, b"p")


def _field(each: Difference, name: bytes) -> str:
    """Return the field as it was sealed, if it was."""
    entry = each.sealed or each.stored
    return "" if entry is None else entry.fields[name].decode("utf-8", "replace")
