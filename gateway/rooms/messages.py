"""The messages of ``/ws``; ``gateway.rooms.websocket`` says what each means."""

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """A message of either side."""


class Identify(Message, frozen=True, kw_only=True, tag="identify"):
    """``client_id`` is for operators and auditors; a client is identified by its token."""

    client_id: str | None = None
    session_id: str | None = None
    last_event_id: str | None = None


class SubscribePhoto(Message, frozen=True, kw_only=True, tag="subscribe:photo"):
    photo_id: str
    last_event_id: str | None = None


class UnsubscribePhoto(Message, frozen=True, kw_only=True, tag="unsubscribe:photo"):
    photo_id: str


class Ping(Message, frozen=True, kw_only=True, tag="ping"):
    pass


class Identified(Message, frozen=True, kw_only=True, tag="identified"):
    """``position`` and ``recovered`` as in the first frame of ``/api/events``."""

    client_id: str
    session_id: str | None
    position: str
    recovered: bool


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


Request = Identify | SubscribePhoto | UnsubscribePhoto | Ping

requests = msgspec.json.Decoder(Request)
