"""Add an example to each body, parameter and problem of the OpenAPI document.

Examples are built from the schemas, so none can go out of date: a field takes the value that is
typical for its name, else one that its schema allows.
"""

from typing import Any

from gateway.http.problem_table import PROBLEMS
from gateway.http.problems import MEDIA_TYPE
from gateway.openapi.names import Json, operations_of, referred

POSITION = "0:1795300000000-0"
MOMENT = "2026-11-23T10:00:00.000Z"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RECEIVER = "https://example.com/photolog"
PHOTO = "0f5c1e0a-4d0b-4b7e-9a53-1f4f6c0f8f11"

VALUES: dict[str, Any] = {
    "actor": "client:alice",
    "advice": "Check the id.",
    "after": POSITION,
    "altitude": 310.5,
    "attempt": 1,
    "attempts": 3,
    "blurhash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
    "bucket": "2026-11",
    "bytes": 3_481_190,
    "clientId": "alice",
    "code": "undecodable",
    "cause": POSITION,
    "checkpoint": POSITION,
    "concurrency": 2,
    "creator": "Alice Example",
    "detail": "There is no such thing.",
    "digitizedAt": "2010-05-01T12:00:00",
    "durationMs": 180,
    "end": POSITION,
    "error": "the file ends in the middle of the picture",
    "expiresInS": 2_592_000,
    "fNumber": 8.0,
    "fileSize": 3_481_190,
    "focalLength": 18.0,
    "generation": "read-model-1.sqlite",
    "height": 2848,
    "id": POSITION,
    "iso": 200,
    "jobId": "6d3b2f0e-7c55-4b52-8d8b-3b0a9a4c7a90",
    "key": "originals/6d/6d3b2f0e",
    "lastEventId": POSITION,
    "lastModified": 1_795_300_000_000,
    "lastModifiedMs": 1_795_300_000_000,
    "latitude": 43.46,
    "limit": 50,
    "longitude": 11.88,
    "make": "NIKON CORPORATION",
    "message": "the file ends in the middle of the picture",
    "mimeType": "image/jpeg",
    "model": "NIKON D90",
    "name": "photolog",
    "originalFilename": "IMG_0042.jpg",
    "partition": 0,
    "path": "/login#ticket=example",
    "photoId": PHOTO,
    "photoIds": [PHOTO],
    "photoVersion": 1,
    "photos": 12,
    "pipeline": "full_processing",
    "policy": "requests",
    "position": POSITION,
    "prev": "0" * 64,
    "priority": 5,
    "progress": 0.5,
    "quota": 600,
    "reason": "the disk was full",
    "remaining": 599,
    "revokedBy": "operator",
    "room": "client",
    "rooms": ["client:alice"],
    "run": "smaller-thumbnails",
    "scopes": ["priority:high"],
    "sessionId": "summer-2026",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size": 300,
    "source": "gateway",
    "stage": "thumbnails",
    "takenAt": "2010-05-01T12:00:00",
    "takenFrom": "2019-07",
    "takenTo": "2019-08",
    "ticket": "k3Yp0vGq",
    "title": "Photo not found",
    "tokenId": "tok-1",
    "traceId": TRACE,
    "type": "urn:photolog:problem:photo-not-found",
    "url": f"/api/photos/{PHOTO}/thumbnails/300",
    "width": 4288,
    "windowS": 60,
}
"""Typical values of fields and parameters by name; one that a schema does not allow is not used."""

SELECTING: dict[str, Json] = {
    "WebhookChange": {"url": RECEIVER, "types": ["photo.processing.completed"]},
    "WebhookRequest": {"url": RECEIVER, "types": ["photo.processing.completed"]},
    "DiscardRequest": {"photoIds": [PHOTO], "reason": "not a photo"},
    "RetryRequest": {"photoIds": [PHOTO]},
    "RevokeRequest": {"clientId": "alice", "reason": "the laptop was lost"},
}
"""Bodies whose fields exclude each other."""

_WEBHOOK: Json = {
    "id": "5f1d0c2ab9e83746",
    "url": RECEIVER,
    "types": ["photo.processing.completed"],
    "description": "for the archive",
    "state": "delivering",
    "positions": [POSITION],
    "lastStatus": 200,
}

OWN: dict[str, Json] = {
    "Webhook": _WEBHOOK,
    "CreatedWebhook": {**_WEBHOOK, "secret": "whsec_" + "A" * 43 + "="},
    "WebhookSecret": {"id": _WEBHOOK["id"], "secret": "whsec_" + "A" * 43 + "="},
    "WebhookDelivery": {"type": "photo.uploaded", "outcome": "delivered", "answer": "ok"},
    "WebhookCreatedData": {"url": RECEIVER, "types": ["photo.processing.completed"]},
    "WebhookChangedData": {"url": RECEIVER, "types": ["photo.processing.completed"]},
    "WebhookDeletedData": {"url": RECEIVER},
}
"""Values of fields that have another typical value in the schema than elsewhere."""

_MEANT = ("application/json",)
_FALLBACKS: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": False}
_DEEPEST = 8


def add_examples(document: Json) -> None:
    """Add the examples to ``document``, in place; those of problems are shared by their code."""
    examples = Examples(document["components"]["schemas"])
    used: set[str] = set()
    for operation in operations_of(document):
        for parameter in operation.get("parameters", ()):
            _add_to_parameter(parameter, examples)
        for media in operation.get("requestBody", {}).get("content", {}).values():
            media["example"] = examples.of(media["schema"], whole=False)
        for response in operation["responses"].values():
            for kind, media in response.get("content", {}).items():
                if kind in _MEANT:
                    media["example"] = examples.of(media["schema"])
                elif kind == MEDIA_TYPE:
                    codes = response["description"].split("`")[1::2]
                    used |= set(codes)
                    media["examples"] = {
                        code: {"$ref": f"#/components/examples/{code}"} for code in codes
                    }
    document["components"]["examples"] = {
        code: {"summary": PROBLEMS[code].title, "value": _problem(code)} for code in sorted(used)
    }


class Examples:
    """Build values that the schemas of one document allow."""

    def __init__(self, schemas: dict[str, Json]) -> None:
        self._schemas = schemas

    def of(self, schema: Json, name: str = "", *, whole: bool = True, depth: int = 0) -> Any:
        """Return an example of ``schema``, for a field ``name``.

        ``whole`` includes optional fields that would be null or their default.
        """
        if "$ref" in schema:
            title = referred(schema["$ref"])
            if title in SELECTING:
                return SELECTING[title]
            made = self.of(self._schemas[title], name, whole=whole, depth=depth)
            return made | OWN[title] if title in OWN else made
        if "const" in schema:
            return schema["const"]
        if "discriminator" in schema:
            return self.of(schema["oneOf"][0], depth=depth + 1)
        kinds = _kinds(schema)
        if name in VALUES and _is_of(VALUES[name], kinds, schema):
            return VALUES[name]
        if "default" in schema and schema["default"] is not None:
            return schema["default"]
        if "enum" in schema:
            return schema["enum"][0]
        return self._made(schema, kinds, name, whole=whole, depth=depth)

    def _made(self, schema: Json, kinds: list[str], name: str, *, whole: bool, depth: int) -> Any:
        if schema.get("format") == "date-time" and name != "retryAt":
            return MOMENT
        if "null" in kinds or depth > _DEEPEST:
            return None
        for choice in schema.get("oneOf") or schema.get("anyOf") or ():
            if "object" not in kinds and choice != {"type": "null"}:
                return self.of(choice, name, whole=whole, depth=depth + 1)
        if "object" in kinds:
            return self._object(schema, whole=whole, depth=depth)
        if "array" in kinds:
            items = schema.get("items", {})
            return [self.of(items, name, whole=whole, depth=depth + 1)] if items else []
        value: Any = _FALLBACKS.get(kinds[0]) if kinds else None
        return max(value, schema.get("minimum", value)) if kinds == ["integer"] else value

    def _object(self, schema: Json, *, whole: bool, depth: int) -> Json:
        made: Json = {}
        required: list[str] = schema.get("required", [])
        for field, described in schema.get("properties", {}).items():
            value = self.of(described, field, whole=whole, depth=depth + 1)
            is_needed = whole or field in required
            if is_needed or (value is not None and value != described.get("default")):
                made[field] = value
        extra: Any = schema.get("additionalProperties")
        if extra and extra is not True and not made:
            made["thumbnails"] = self.of(extra, whole=whole, depth=depth + 1)
        return made


def _kinds(schema: Json) -> list[str]:
    kinds: Any = schema.get("type", [])
    if not kinds and {"type": "null"} in schema.get("oneOf", ()):
        return []
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _is_of(value: Any, kinds: list[str], schema: Json) -> bool:
    """Return whether the value is allowed, as far as types, choices and bounds say it."""
    if "enum" in schema or "default" in schema:
        return value in schema.get("enum", (value,)) and schema.get("default", value) == value
    match value:
        case str():
            return "string" in kinds and schema.get("format") != "date-time"
        case int():
            return "integer" in kinds and value >= schema.get("minimum", value)
        case float():
            return "number" in kinds
        case _:
            return "array" in kinds and schema.get("items", {}).get("type") == "string"


def _add_to_parameter(parameter: Json, examples: Examples) -> None:
    schema, name = parameter["schema"], parameter["name"]
    if name in VALUES and _is_of(VALUES[name], _kinds(schema), schema):
        parameter["example"] = VALUES[name]
    elif name == "photoIds":
        parameter["example"] = PHOTO
    elif "enum" in schema or "$ref" in schema:
        parameter["example"] = examples.of(schema)
    elif name in ("from", "to", "since"):
        parameter["example"] = MOMENT


def _problem(code: str) -> Json:
    kind = PROBLEMS[code]
    return {
        "type": f"urn:photolog:problem:{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": f"{kind.title}.",
        "code": code,
        "advice": kind.advice,
        "traceId": TRACE,
    }
