"""Describe in AsyncAPI what webhooks receive: a CloudEvent for each event, with its signature."""

import inspect

import msgspec

from domain.photo.events import EVENT_TYPES
from gateway.openapi.names import Json, referring
from gateway.webhooks.messages import CONTENT_TYPE, SPEC_VERSION, CloudEvent

CHANNEL = "webhook"
MESSAGE = "webhookEvent"
SCHEMA = "WebhookEvent"
SERVER = "receiver"


def server() -> Json:
    """Return the receiver, as a server of the document."""
    return {
        "host": "{host}",
        "pathname": "/{path}",
        "protocol": "https",
        "description": "The URL of a webhook, which its client or an operator has chosen.",
        "variables": {"host": {"default": "example.com"}, "path": {"default": "photolog"}},
    }


def channel() -> Json:
    return {
        "address": None,
        "title": "Webhooks",
        "description": (
            "A `POST` to the URL of each webhook, for each event that it gets. A 2xx answer "
            "delivers the event; 410 disables the webhook; anything else is retried. Events of "
            "one photo arrive in order, and each at least once: `webhook-id` is the same each time."
        ),
        "servers": [{"$ref": f"#/servers/{SERVER}"}],
    }


def message() -> Json:
    header = {"type": "string"}
    return {
        "title": SCHEMA,
        "summary": "An event as a CloudEvent 1.0, signed as Standard Webhooks says.",
        "contentType": CONTENT_TYPE.partition(";")[0],
        "headers": {
            "type": "object",
            "description": "The headers of the request.",
            "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
            "properties": {
                "webhook-id": {**header, "description": "The position of the event."},
                "webhook-timestamp": {
                    **header,
                    "description": "When the attempt began, in seconds since 1970.",
                },
                "webhook-signature": {
                    **header,
                    "description": "One or more `v1,SIGNATURE`, separated by spaces.",
                },
            },
        },
        "payload": referring(SCHEMA),
    }


def operations() -> dict[str, Json]:
    return {
        "sendWebhookEvent": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{CHANNEL}"},
            "summary": "Send an event to a webhook.",
            "messages": [{"$ref": f"#/channels/{CHANNEL}/messages/{MESSAGE}"}],
            "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
        }
    }


def schema() -> Json:
    """Return the schema of the body; its ``data`` refers to those of the events."""
    fields = {each.name: each for each in msgspec.structs.fields(CloudEvent)}
    properties: dict[str, Json] = {
        name: {"type": "integer" if name == "photoversion" else "string"} for name in fields
    }
    properties["specversion"]["const"] = SPEC_VERSION
    properties["type"]["enum"] = sorted(EVENT_TYPES)
    properties["data"] = {
        "anyOf": [referring(f"{cls.__name__}Data") for cls in EVENT_TYPES.values()]
    }
    return {
        "title": SCHEMA,
        "type": "object",
        "description": inspect.cleandoc(CloudEvent.__doc__ or "").replace("``", "`"),
        "required": [name for name, each in fields.items() if each.required],
        "properties": properties,
    }
