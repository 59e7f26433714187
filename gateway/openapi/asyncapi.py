"""Describe in AsyncAPI 3 what the gateway sends as it happens: ``GET /schema/asyncapi.json``.

The schemas are those of the messages that the code reads and writes, and the events are those of
the OpenAPI document. Each source of events is one ``Channel``; ``CHANNELS`` lists them.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.access.cookies import COOKIE
from gateway.openapi import webhook_channel
from gateway.openapi.document import VERSION
from gateway.openapi.events import EVENT
from gateway.openapi.examples import Examples
from gateway.openapi.names import Json, camel, each_node, referred, referring
from gateway.openapi.strict_schema import POSITIONS, ROOM
from gateway.rooms import messages
from gateway.rooms.messages import PING_S, Message
from gateway.rooms.sse import Ready

PATH = "/schema/asyncapi.json"

REPLIES: tuple[tuple[type[Message], type[Message]], ...] = (
    (messages.Identify, messages.Identified),
    (messages.SubscribePhoto, messages.Subscribed),
    (messages.UnsubscribePhoto, messages.Unsubscribed),
    (messages.Ping, messages.Pong),
)
"""The messages that a client may send over the WebSocket, each with its reply."""

_SUMMARIES = {
    "Identify": "Enter the client's room and, if it names one, that of a session; once, first.",
    "Identified": "The rooms are entered; their events follow.",
    "SubscribePhoto": "Enter the room of a photo.",
    "Subscribed": "The room of the photo is entered; its events follow.",
    "UnsubscribePhoto": "Leave the room of a photo.",
    "Unsubscribed": "The room of the photo is left; events in flight may still arrive.",
    "Ping": "From a client: ask whether the server answers. From the server: it is alive.",
    "Pong": "The server answers.",
    "Error": "The last message cannot be processed. It changed nothing.",
}

_SECURITY: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "cookie": {"type": "httpApiKey", "name": COOKIE, "in": "cookie"},
}


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """One way to receive events, with its messages by name and its operations by id."""

    name: str
    description: Json
    messages: dict[str, Json]
    operations: dict[str, Json]


def describe(openapi: Json) -> Json:
    """Return the AsyncAPI document, with the events of the document ``openapi``."""
    channels = (_socket(), _stream(), _webhook())
    schemas = _message_schemas() | _closure(openapi["components"]["schemas"], EVENT)
    schemas[webhook_channel.SCHEMA] = webhook_channel.schema()
    each_node(schemas, _as_in_asyncapi)
    examples = Examples(openapi["components"]["schemas"] | schemas)
    for channel in channels:
        for message in channel.messages.values():
            message["examples"] = [{"payload": examples.of(message["payload"])}]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Photolog",
            "version": VERSION,
            "description": (
                "The events of photos and of the pipeline, as they happen. WebSocket and event "
                "stream deliver the same events in the same order within a room, and both resume: "
                "a client sends the last `id` that it has seen, and gets what came after it. "
                "Webhooks get the events without a connection of their own."
            ),
            "license": {"name": "MIT"},
            "tags": [{"name": "events", "description": "Receive events as they happen."}],
        },
        "defaultContentType": "application/json",
        "servers": {
            "socket": _server("ws", "The gateway over a WebSocket; with TLS, `wss`."),
            "stream": _server("http", "The gateway over HTTP; with TLS, `https`."),
            webhook_channel.SERVER: webhook_channel.server(),
        },
        "channels": {
            each.name: {
                **each.description,
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in each.messages
                },
            }
            for each in channels
        },
        "operations": {name: op for each in channels for name, op in each.operations.items()},
        "components": {
            "schemas": schemas,
            "messages": {
                name: message for each in channels for name, message in each.messages.items()
            },
            "securitySchemes": _SECURITY,
        },
    }


def _socket() -> Channel:
    sent = [reply for _, reply in REPLIES] + [messages.Error]
    own = {
        camel_message(cls): _message(cls.__name__, _SUMMARIES[cls.__name__])
        for cls in (*(wish for wish, _ in REPLIES), *sent)
    }
    own["roomEvent"] = _message("RoomEvent", "An event of the rooms that were entered.")
    own["roomEvents"] = _message("RoomEvents", "Several such events, for a client with `batches`.")
    operations: dict[str, Json] = {
        camel_message(wish): {
            "action": "receive",
            "channel": {"$ref": "#/channels/rooms"},
            "summary": _SUMMARIES[wish.__name__],
            "messages": [_of("rooms", camel_message(wish))],
            "reply": {
                "channel": {"$ref": "#/channels/rooms"},
                "messages": [_of("rooms", camel_message(reply)), _of("rooms", "error")],
            },
        }
        for wish, reply in REPLIES
    }
    operations["sendRoomEvent"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/rooms"},
        "summary": "Deliver an event, once for each socket, in order within each room.",
        "messages": [_of("rooms", "roomEvent"), _of("rooms", "roomEvents")],
    }
    operations["sendPing"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/rooms"},
        "summary": f"Every {PING_S} s after `identified`, events or not. It takes no answer.",
        "messages": [_of("rooms", "ping")],
    }
    return Channel(
        name="rooms",
        description={
            "address": "/ws",
            "title": "Rooms over a WebSocket",
            "description": (
                "Close codes: 1008 for too many errors or frames, 1009 for a message that is too "
                "long, 1012 when the server stops, 1013 for a slow reader or an unavailable log "
                "(reconnect and resume), 4401 for a token that is missing, invalid, expired or "
                "revoked, 4403 for a page of another site."
            ),
            "servers": [{"$ref": "#/servers/socket"}],
            "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        },
        messages=own,
        operations=operations,
    )


def _stream() -> Channel:
    query: Json = {
        "type": "object",
        "required": ["room"],
        "properties": {
            "room": {"type": "string", "pattern": ROOM},
            "lastEventId": {"type": "string", "pattern": POSITIONS},
        },
    }
    return Channel(
        name="eventStream",
        description={
            "address": "/api/events",
            "title": "One room as Server-Sent Events",
            "servers": [{"$ref": "#/servers/stream"}],
        },
        messages={
            "ready": _frame("Ready", "ready", "The first frame: whether all events follow."),
            "streamEvent": _frame(EVENT, "message", "One event; `id` is the position to resume."),
            "streamPing": _frame("StreamPing", "ping", f"Every {PING_S} s, events or not."),
        },
        operations={
            "sendStreamEvent": {
                "action": "send",
                "channel": {"$ref": "#/channels/eventStream"},
                "summary": "Stream the events of a room, after `ready`.",
                "messages": [
                    _of("eventStream", name) for name in ("ready", "streamEvent", "streamPing")
                ],
                "bindings": {"http": {"method": "GET", "query": query, "bindingVersion": "0.3.0"}},
            }
        },
    )


def _webhook() -> Channel:
    return Channel(
        name=webhook_channel.CHANNEL,
        description=webhook_channel.channel(),
        messages={webhook_channel.MESSAGE: webhook_channel.message()},
        operations=webhook_channel.operations(),
    )


def camel_message(cls: type[Message]) -> str:
    """Return ``SubscribePhoto`` as ``subscribePhoto``."""
    return cls.__name__[0].lower() + cls.__name__[1:]


def _server(protocol: str, description: str) -> Json:
    return {
        "host": "{host}",
        "protocol": protocol,
        "description": description,
        "variables": {"host": {"default": "127.0.0.1:3000"}},
        "security": [
            {"$ref": f"#/components/securitySchemes/{name}"} for name in ("bearer", "cookie")
        ],
    }


def _of(channel: str, message: str) -> Json:
    return {"$ref": f"#/channels/{channel}/messages/{message}"}


def _message(schema: str, summary: str) -> Json:
    return {"title": schema, "summary": summary, "payload": referring(schema)}


def _frame(schema: str, event: str, summary: str) -> Json:
    return {
        **_message(schema, summary),
        "headers": {
            "type": "object",
            "description": "The other fields of the frame.",
            "properties": {
                "event": {"type": "string", "const": event},
                "id": {"type": "string", "pattern": POSITIONS},
            },
        },
    }


def _message_schemas() -> dict[str, Json]:
    types = [cls for pair in REPLIES for cls in pair]
    _, schemas = msgspec.json.schema_components(
        [*types, messages.Error, Ready], ref_template=f"{referring('')['$ref']}{{name}}"
    )
    for cls in (*types, messages.Error):
        text = inspect.cleandoc(cls.__doc__ or "")
        schemas[cls.__name__]["description"] = text or _SUMMARIES[cls.__name__]
    member = {"rooms": {"type": "array", "items": {"type": "string"}}, "event": referring(EVENT)}
    schemas["RoomEvent"] = {
        "title": "RoomEvent",
        "type": "object",
        "required": ["type", *member],
        "properties": {"type": {"type": "string", "const": "event"}, **member},
    }
    schemas["RoomEvents"] = {
        "title": "RoomEvents",
        "type": "object",
        "required": ["type", "events"],
        "properties": {
            "type": {"type": "string", "const": "events"},
            "events": {
                "type": "array",
                "items": {"type": "object", "required": [*member], "properties": member},
            },
        },
    }
    schemas["StreamPing"] = {"title": "StreamPing", "type": "object", "maxProperties": 0}
    return schemas


def _closure(schemas: dict[str, Json], first: str) -> dict[str, Json]:
    """Return the schema ``first`` and all that it refers to, as copies."""
    found: dict[str, Json] = {}
    wanted = [first]

    def refer(node: Json) -> None:
        if isinstance(node.get("$ref"), str):
            wanted.append(referred(node["$ref"]))

    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = msgspec.json.decode(msgspec.json.encode(schemas[name]))
            each_node(found[name], refer)
    return dict(sorted(found.items()))


def _as_in_asyncapi(node: Json) -> None:
    """Write the discriminator and descriptions as AsyncAPI has them."""
    if isinstance(node.get("discriminator"), dict):
        node["discriminator"] = node["discriminator"]["propertyName"]
    text = node.get("description")
    if isinstance(text, str):
        for name in _python_names(text):
            text = text.replace(name, camel(name))
        node["description"] = text.replace("``", "`")


def _python_names(text: str) -> Sequence[str]:
    return [each for each in text.split("``")[1::2] if "_" in each and each.islower()]


def asyncapi_route() -> HTTPRouteHandler:
    """Return the route of an application, which builds the document for the first request."""
    made: list[bytes] = []

    @get(PATH, exclude_from_auth=True, include_in_schema=False)
    async def asyncapi(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Return the AsyncAPI document."""
        if not made:
            made.append(msgspec.json.encode(describe(request.app.openapi_schema.to_schema())))
        return Response(made[0], media_type="application/json")

    return asyncapi
