"""The positions after which a webhook begins: those that its owner names, or the ends of now."""

from gateway.http.problems import Refused
from gateway.queries.reading import parse_position
from projections.models import history
from store.log.log import Log
from store.log.position import Position
from store.sqlite.reader import Reader


async def starts_of(
    log: Log,
    reader: Reader,
    client_id: str | None,
    after: str | None,
    own: str | None,
    *,
    only_given: bool = False,
) -> tuple[str, ...]:
    """Return a position for each partition of the client, or of everyone.

    ``after`` has positions joined by commas; partitions without one begin at their end, or are left
    out if ``only_given``. A client, ``own``, can only name positions of its own events.

    Raises:
        Refused: ``invalid-position``, ``unknown-position``.
        Unavailable: the log or the read model does not answer.
    """
    partitions = range(log.partitions) if client_id is None else (log.partition_of(client_id),)
    given_texts = () if after is None else after.split(",")
    parsed = [parse_position(text, log.partitions) for text in given_texts]
    given = {each.partition: each for each in parsed}
    for position in given.values():
        is_known = position.partition in partitions and await reader.query(
            history.has, position, own
        )
        if not is_known:
            raise Refused(
                "unknown-position", f"There is no event at {position} that this webhook gets."
            )
    starts: list[Position] = []
    for partition in partitions:
        if partition in given:
            starts.append(given[partition])
        elif not only_given:
            starts.append(await log.end(partition))
    return tuple(map(str, starts))
