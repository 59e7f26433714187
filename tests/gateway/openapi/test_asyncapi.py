"""The AsyncAPI document: valid, and what the gateway really sends."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator

from gateway.rooms import messages
from gateway.webhooks.messages import body_of, signed, source_of
from store.log.codec import encode_wire
from store.log.position import Position
from tests.gateway.conftest import Gateway
from tests.gateway.listeners import following, record, talking
from tests.gateway.openapi.tools import GET_TOOLS, run
from tests.servers import unavailable

PARSE = Path(__file__).with_name("parse_asyncapi.cjs")


@pytest.fixture
async def asyncapi(gateway: Gateway) -> dict[str, Any]:
    """The document as someone without a token gets it."""
    answer = await gateway.client.get("/schema/asyncapi.json", headers={"Authorization": ""})
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def faults(asyncapi: dict[str, Any], message: str, payload: Any) -> list[str]:
    """Return why ``payload`` is not one of the message."""
    wanted = asyncapi["components"]["messages"][message]["payload"]
    schema = {**wanted, "components": asyncapi["components"]}
    untyped: Any = Draft7Validator(schema)
    return [fault.message for fault in untyped.iter_errors(payload)]


async def test_the_parser_of_asyncapi_accepts_it(asyncapi: dict[str, Any], tmp_path: Path) -> None:
    redocly = shutil.which("redocly")  # the parser is a library beside it
    if redocly is None:
        unavailable(f"the parser of AsyncAPI {GET_TOOLS}")
        return
    path = tmp_path / "asyncapi.json"
    path.write_text(json.dumps(asyncapi), "utf-8")

    run("node", PARSE, Path(redocly).parent.parent / "any.cjs", path)


async def test_messages_of_the_socket_are_as_described(
    gateway: Gateway, asyncapi: dict[str, Any]
) -> None:
    async with talking(gateway) as talk:
        identified = await talk.ask("identify", sessionId="trip")
        [photo_id] = await record(gateway.log, session_id="trip")
        event = await talk.next()
        subscribed = await talk.ask("subscribe:photo", photoId=photo_id)
        error = await talk.ask("subscribe:photo", photoId="unknown")
        unsubscribed = await talk.ask("unsubscribe:photo", photoId=photo_id)
        pong = await talk.ask("ping")
    async with talking(gateway) as talk:
        await talk.ask("identify", batches=True)
        await record(gateway.log)
        events = await talk.next()

    for message, payload in {
        "identified": identified,
        "roomEvent": event,
        "roomEvents": events,
        "subscribed": subscribed,
        "error": error,
        "unsubscribed": unsubscribed,
        "pong": pong,
    }.items():
        assert faults(asyncapi, message, payload) == [], payload
    assert faults(asyncapi, "roomEvent", {**event, "event": {**event["event"], "type": "photo"}})


async def test_frames_of_the_stream_are_as_described(
    gateway: Gateway, asyncapi: dict[str, Any]
) -> None:
    async with following(gateway, "client") as stream:
        await record(gateway.log, 1)
        [frame] = await stream.take(1)

    assert faults(asyncapi, "ready", stream.ready.data) == []
    assert faults(asyncapi, "streamEvent", frame.data) == []
    for name, received in (("ready", stream.ready), ("streamEvent", frame)):
        fields = asyncapi["components"]["messages"][name]["headers"]["properties"]
        assert fields["event"]["const"] == received.event
        assert re.fullmatch(fields["id"]["pattern"], received.id)


async def test_deliveries_of_webhooks_are_as_described(
    gateway: Gateway, asyncapi: dict[str, Any]
) -> None:
    await record(gateway.log, 1)
    [recorded] = await gateway.log.read(Position.start(0))
    event = encode_wire(recorded.event, recorded.position)
    body = json.loads(body_of(event, recorded.event.data.photo_id, source_of(gateway.log.log_id)))
    keys = [b"k" * 32]

    assert faults(asyncapi, "webhookEvent", body) == []
    assert faults(asyncapi, "webhookEvent", {**body, "specversion": "0.3"})
    described = asyncapi["components"]["messages"]["webhookEvent"]["headers"]["required"]
    assert described == [name for name, _ in signed(b"{}", "0:1-0", 1, keys)]


async def test_every_message_of_a_client_has_an_operation_with_its_reply(
    asyncapi: dict[str, Any],
) -> None:
    operations = asyncapi["operations"]
    received = [name for name, each in operations.items() if each["action"] == "receive"]

    assert len(received) == len(get_args(messages.Request))
    for name in received:
        assert operations[name]["reply"]["messages"], name
        example = asyncapi["components"]["messages"][name]["examples"][0]["payload"]
        messages.read(json.dumps(example))  # the gateway understands it


async def test_a_message_of_an_unknown_type_is_told_the_types(gateway: Gateway) -> None:
    async with talking(gateway) as talk:
        unknown = await talk.ask("subscribe:album", photoId="1")
        await talk.connection.send("{}")
        missing = await talk.next()

    types = "send identify, subscribe:photo, unsubscribe:photo or ping"
    assert unknown["detail"] == f"type cannot be 'subscribe:album'; {types}"
    assert missing["detail"] == f"type is missing; {types}"
