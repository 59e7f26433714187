"""The messages of ``/ws``; ``gateway.rooms.websocket`` says what each means."""

from typing import Any, get_args

import msgspec

PING_S = 5
"""The time between two messages that tell a reader that the gateway is alive."""


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """A message of either side."""


class Identify(Message, frozen=True, kw_only=True, tag="identify"):
    """``client_id`` is for operators and auditors; a client is identified by its token.

    With ``batches``, several events come in one message.
    """

    client_id: str | None = None
    session_id: str | None = None
    last_event_id: str | None = None
    batches: bool = False


class SubscribePhoto(Message, frozen=True, kw_only=True, tag="subscribe:photo"):
    photo_id: str
    last_event_id: str | None = None


class UnsubscribePhoto(Message, frozen=True, kw_only=True, tag="unsubscribe:photo"):
    photo_id: str


class Ping(Message, frozen=True, kw_only=True, tag="ping"):
    """From a client: asks for a ``pong``. From the server: it is alive; takes no answer."""


class Identified(Message, frozen=True, kw_only=True, tag="identified"):
    """``position`` and ``recovered`` as in the first frame of ``/api/events``.

    ``ping_interval_ms`` is the time between two pings of the server.
    """

    client_id: str
    session_id: str | None
    position: str
    recovered: bool
    ping_interval_ms: int = PING_S * 1_000


class Subscribed(Message, frozen=True, kw_only=True, tag="subscribed"):
    photo_id: str
    position: str
    recovered: bool


class Unsubscribed(Message, frozen=True, kw_only=True, tag="unsubscribed"):
    photo_id: str


class Pong(Message, frozen=True, kw_only=True, tag="pong"):
    pass


class Error(Message, frozen=True, kw_only=True, tag="error"):
    code: str
    detail: str


SHOWN = 64
"""The most characters of a message's type that an answer repeats."""


class _Typed(msgspec.Struct, frozen=True):
    type: Any = msgspec.UNSET


Request = Identify | SubscribePhoto | UnsubscribePhoto | Ping

TYPES = tuple(str(cls.__struct_config__.tag) for cls in get_args(Request))
"""The types of messages that a client may send."""

_requests = msgspec.json.Decoder(Request)
_typed = msgspec.json.Decoder(_Typed)


def read(text: str | bytes) -> Request:
    """Decode a message; raises msgspec.MsgspecError, which lists the types after an unknown one."""
    try:
        return _requests.decode(text)
    except msgspec.ValidationError as error:
        kind = _typed.decode(text).type
        if kind in TYPES:
            raise
        found = "is missing" if kind is msgspec.UNSET else f"cannot be {str(kind)[:SHOWN]!r}"
        raise msgspec.ValidationError(
            f"type {found}; send {', '.join(TYPES[:-1])} or {TYPES[-1]}"
        ) from error
