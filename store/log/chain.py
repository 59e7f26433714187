"""Chains the events of a decision: each carries the digest of the event before it."""

from collections.abc import Sequence

import msgspec

from domain.moments import iso
from domain.photo.commands import PhotoCommand, UploadPhoto
from domain.photo.decide import decide
from domain.photo.events import AnyEvent, Context, Event, Metadata
from store.log import codec
from store.log.outcome import Loaded, Requirement


class Chained(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
    """Return the decided events, chained to the event with this ``version`` and ``digest``."""
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
                version=data.VERSION,
                photo_version=version + offset,
                prev=digest,
            ),
        )
        body = codec.encode_event(event)
        digest = codec.digest(body)
        events.append(event)
        bodies.append(body)
    return Chained(events=tuple(events), bodies=tuple(bodies), digest=digest)


def chained_for(
    command: PhotoCommand,
    client_id: str,
    loaded: Loaded,
    context: Context,
    require: Requirement | None,
    *,
    may_be_done: bool,
) -> Chained:
    """Decide the command and chain its events to the photo's last one.

    ``require`` is not called for a command without events that ``may_be_done`` already. Raises
    Rejected, and what ``require`` raises.
    """
    session_id = command.session_id if isinstance(command, UploadPhoto) else None
    decided = decide(command, loaded.photo)
    if require is not None and (decided or not may_be_done):
        require(loaded)
    return chain(
        decided,
        version=loaded.version,
        digest=loaded.digest,
        client_id=client_id,
        session_id=loaded.photo.session_id if loaded.photo else session_id,
        context=context,
    )
