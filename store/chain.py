"""The events of one decision, each bound to the one before it by its digest."""

from collections.abc import Sequence

import msgspec

from domain.events import AnyEvent, Context, Event, Metadata, iso
from store import codec


class Chained(msgspec.Struct, frozen=True, kw_only=True):
    """``bodies`` are the stored bytes of ``events``; ``digest`` is that of the last one."""

    events: tuple[Event, ...]
    bodies: tuple[bytes, ...]
    digest: str


def chain(
    decided: Sequence[AnyEvent],
    *,
    version: int,
    digest: str,
    client_id: str,
    session_id: str | None,
    context: Context,
) -> Chained:
    """What was decided as the events that follow on the one of ``version`` and ``digest``."""
    events: list[Event] = []
    bodies: list[bytes] = []
    for offset, data in enumerate(decided, start=1):
        event = Event(
            timestamp=iso(context.now),
            data=data,
            metadata=Metadata(
                source=context.source,
                client_id=client_id,
                session_id=session_id,
                trace_id=context.trace_id,
                actor=context.actor,
                cause=context.cause,
                photo_version=version + offset,
                prev=digest,
            ),
        )
        body = codec.encode_event(event)
        digest = codec.digest(body)
        events.append(event)
        bodies.append(body)
    return Chained(events=tuple(events), bodies=tuple(bodies), digest=digest)
