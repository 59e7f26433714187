"""Encodes events, states and tasks, and decodes them.

In the log an event is MessagePack: ``{timestamp, type, data, metadata}``. On the wire it is JSON
with its position as ``id``. Upcasters bring an event of an older version up to date as it is read;
stored bytes are never rewritten.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Union, cast

import msgspec

from domain.photo.events import EVENT_TYPES, AnyEvent, Data, Event, Metadata, StageCompleted
from domain.photo.state import Photo
from domain.pipeline.stages import Task
from store.errors import Corrupt
from store.log.position import Position

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


def _name_the_source(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 took the time a photo was taken from one tag alone, and did not name it."""
    result: Any = data.get("result")
    if data.get("stage") != "metadata" or not isinstance(result, dict):
        return data
    facts = cast("dict[str, Any]", result)
    if facts.get("takenAt") is None:
        return data
    return {**data, "result": {**facts, "takenAtSource": "exif:DateTimeOriginal"}}


UPCASTERS: dict[tuple[str, str], Upcaster] = {
    (StageCompleted.TYPE, "1"): _name_the_source,
}
"""Maps ``(type, version)`` of stored data to the step to the next version."""


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    timestamp: str
    type: str
    data: msgspec.Raw
    metadata: Metadata


class _BriefData(msgspec.Struct, frozen=True, rename="camel", gc=False):
    photo_id: str = ""


class _BriefMetadata(msgspec.Struct, frozen=True, rename="camel", gc=False):
    client_id: str
    session_id: str | None
    version: str


class _Brief(msgspec.Struct, frozen=True, gc=False):
    """The parts of a stored event that say what it is about."""

    type: str
    data: _BriefData
    metadata: _BriefMetadata


class _Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    timestamp: str
    type: str
    data: AnyEvent
    metadata: Metadata


class WireEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as HTTP, WebSocket and SSE show it; ``id`` is its position."""

    id: str
    type: str
    timestamp: str
    data: dict[str, Any]
    metadata: Metadata


class _WireOut(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    timestamp: str
    data: AnyEvent
    metadata: Metadata


def _stored_as(cls: type[AnyEvent]) -> type[msgspec.Struct]:
    """Return the shape of a stored event whose data are of this type, at its current version."""
    return msgspec.defstruct(
        f"_Stored{cls.__name__}",
        [("timestamp", str), ("data", cls), ("metadata", Metadata)],
        tag_field="type",
        tag=cls.TYPE,
        frozen=True,
        gc=False,
    )


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_json = msgspec.json.Encoder(order="deterministic")
_stored = msgspec.msgpack.Decoder(_Stored)
_current: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
    Union[tuple(_stored_as(cls) for cls in EVENT_TYPES.values())]  # noqa: UP007 # made of a tuple
)
"""Decodes an event with its data in one step, which takes half the time of two."""

_brief = msgspec.msgpack.Decoder(_Brief)
_OF_PHOTOS = frozenset(
    (name, cls.VERSION) for name, cls in EVENT_TYPES.items() if issubclass(cls, Data)
)
"""The types and current versions of events of photos."""

_photo = msgspec.msgpack.Decoder(Photo)
_task = msgspec.msgpack.Decoder(Task)
_data: dict[str, msgspec.msgpack.Decoder[Any]] = {
    name: msgspec.msgpack.Decoder(cls) for name, cls in EVENT_TYPES.items()
}


def encode_event(event: Event) -> bytes:
    return _encoder.encode(
        _Outgoing(
            timestamp=event.timestamp, type=event.type, data=event.data, metadata=event.metadata
        )
    )


def decode_event(body: bytes) -> Event:
    """Raises Corrupt if ``body`` is not an event that this version knows."""
    return decode_events((body,))[0]


def decode_events(bodies: Iterable[bytes]) -> list[Event]:
    """Decode events; raises Corrupt if one of them is not an event that this version knows."""
    events: list[Event] = []
    for body in bodies:
        try:
            found = _current.decode(body)
            data, metadata = found.data, found.metadata
            if metadata.version == data.VERSION:
                events.append(Event(timestamp=found.timestamp, data=data, metadata=metadata))
                continue
        except (msgspec.MsgspecError, ValueError):
            pass  # an older version, or no event
        events.append(_decode_in_steps(body))
    return events


def _decode_in_steps(body: bytes) -> Event:
    """Decode an event of any version; see ``decode_event``."""
    try:
        stored = _stored.decode(body)
        data, metadata = _decode_data(stored), stored.metadata
        if metadata.version != data.VERSION:
            metadata = msgspec.structs.replace(metadata, version=data.VERSION)
        return Event(timestamp=stored.timestamp, data=data, metadata=metadata)
    except (msgspec.MsgspecError, KeyError, ValueError) as error:  # ValueError: bad UTF-8
        raise Corrupt(f"a log entry cannot be decoded: {error}") from error


def _decode_data(stored: _Stored) -> AnyEvent:
    version, current = stored.metadata.version, EVENT_TYPES[stored.type].VERSION
    if version == current:
        return cast("AnyEvent", _data[stored.type].decode(stored.data))
    data = cast("dict[str, Any]", msgspec.msgpack.decode(stored.data))
    while version != current:
        data = UPCASTERS[stored.type, version](data)
        version = str(int(version) + 1)
    return msgspec.convert(data, EVENT_TYPES[stored.type])


Subject = tuple[str, str, str, str | None]
"""What an event is about: the photo, the type unless it has a photo, the client, the session."""


def subjects_of(events: Iterable[Event]) -> list[Subject]:
    return [
        (
            data.photo_id,
            "" if data.photo_id else data.TYPE,
            event.metadata.client_id,
            event.metadata.session_id,
        )
        for event in events
        for data in (event.data,)
    ]


def subject_in(body: bytes) -> Subject:
    """Return the subject of an event that is not decoded otherwise; raises Corrupt."""
    try:
        found = _brief.decode(body)
        if (found.type, found.metadata.version) in _OF_PHOTOS and found.data.photo_id:
            metadata = found.metadata
            return found.data.photo_id, "", metadata.client_id, metadata.session_id
    except (msgspec.MsgspecError, ValueError):
        pass
    return subjects_of((decode_event(body),))[0]


def encode_wire(event: Event, position: Position) -> bytes:
    """Return the event's JSON, the same bytes every time."""
    return _json.encode(
        _WireOut(
            id=str(position),
            type=event.type,
            timestamp=event.timestamp,
            data=event.data,
            metadata=event.metadata,
        )
    )


def digest(body: bytes) -> str:
    """Return the SHA-256 in hex that the photo's next event carries as ``prev``."""
    return hashlib.sha256(body).hexdigest()


def encode_photo(photo: Photo) -> bytes:
    return _encoder.encode(photo)


def decode_photo(state: bytes) -> Photo:
    return _photo.decode(state)


def encode_task(task: Task) -> bytes:
    return _encoder.encode(task)


def decode_task(body: bytes) -> Task:
    """Raises Corrupt if ``body`` is not a task."""
    try:
        return _task.decode(body)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"a task cannot be decoded: {error}") from error
