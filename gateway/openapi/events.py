"""Describe each type of event by a schema of its own, chosen by ``type``."""

import inspect
from typing import Any

from domain.photo.events import EVENT_TYPES
from gateway.openapi.names import Json, each_node, operations_of, referred, referring

EVENT, FRAME = "Event", "EventFrame"
STREAM = "text/event-stream"


def name_events(document: Json) -> None:
    """Replace ``Event`` by a choice of one schema for each type, named as in the domain.

    ``PhotoUploaded`` is the event as it is delivered, ``PhotoUploadedData`` what it says. A frame
    of the event stream gets a name, too.
    """
    schemas: dict[str, Json] = document["components"]["schemas"]
    envelope = schemas[EVENT]
    common: Json = envelope["properties"]
    data_of = {cls.__name__: f"{cls.__name__}Data" for cls in EVENT_TYPES.values()}
    for name, title in data_of.items():
        schemas[title] = {**schemas.pop(name), "title": title}

    def rename(node: Json) -> None:
        name = referred(str(node.get("$ref", "")))
        if name in data_of:
            node["$ref"] = referring(data_of[name])["$ref"]

    each_node(schemas, rename)
    for kind, cls in EVENT_TYPES.items():
        fields: dict[str, Any] = {
            **common,
            "type": {"type": "string", "const": kind},
            "data": referring(data_of[cls.__name__]),
        }
        schemas[cls.__name__] = {
            "type": "object",
            "title": cls.__name__,
            "description": schemas[data_of[cls.__name__]].get("description")
            or inspect.cleandoc(cls.__doc__ or ""),
            "required": envelope["required"],
            "properties": {name: fields[name] for name in ("id", "type", "timestamp", "data")}
            | {"metadata": fields["metadata"]},
        }
    schemas[EVENT] = {
        "title": EVENT,
        "description": envelope["description"],
        "oneOf": [referring(cls.__name__) for cls in EVENT_TYPES.values()],
        "discriminator": {
            "propertyName": "type",
            "mapping": {kind: referring(cls.__name__)["$ref"] for kind, cls in EVENT_TYPES.items()},
        },
    }
    for operation in operations_of(document):
        for response in operation["responses"].values():
            if STREAM in response.get("content", {}):
                media = response["content"][STREAM]
                schemas[FRAME] = {**media["schema"], "title": FRAME}
                media["schema"] = referring(FRAME)
