"""Make the OpenAPI document as strict about requests as the server.

Litestar derives the types of parameters and bodies from signatures. The server itself makes further
checks, because each violation has a ``code`` of its own. ``complete`` adds those to Litestar's
document, once for all routes, by the name of the parameter or field.
"""

from collections.abc import Iterator

from litestar.openapi.spec import (
    OpenAPI,
    OpenAPIMediaType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from domain.pipeline.stages import PIPELINES
from gateway.http import session_ids
from gateway.http.limits import Limits
from projections.models import cursor, timeline

POSITION = r"\d{1,5}:\d{1,16}-\d{1,16}"
POSITIONS = rf"^{POSITION}(,{POSITION})*$"
CURSOR = f"^{cursor.FORM}$"
OF_HISTORY = f"^{POSITION}$"
HISTORY = "/history"
OF_TIMELINE = f"^{timeline.BUCKET}$"
TIMELINE = "/timeline"
ROOM = rf"^(client|global|(client|photo):[^\x00]+|session:{session_ids.PATTERN})$"
LOCAL_TIME = (
    r"^[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])"
    r"T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?$"
)
"""A time without an offset, which is interpreted as UTC."""

DATE_TAKEN = (
    r"^[1-9]\d{3}-(0[1-9]|1[0-2])"
    r"(-(0[1-9]|1\d|2[0-8])(T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?)?)?$"
)
"""A local time, or the month or day that begins with it."""

IDEMPOTENCY_KEY = r"^[!-~]([ -~]{0,198}[!-~])?$"
"""Whitespace at the ends of a header is not part of its value."""

SHA256 = "^[0-9a-f]{64}$"

WITHOUT_CONTENT = ("204", "304")
EVENTS = "text/event-stream"
METHODS = ("get", "post", "put", "patch", "delete")


def complete(document: OpenAPI, limits: Limits) -> None:
    """Add the server's checks to ``document``, with the bounds of ``limits``.

    Doing so twice changes nothing more.
    """
    schemas = document.components.schemas if document.components else None
    for path, operation in _operations(document):
        for parameter in operation.parameters or ():
            if isinstance(parameter, Parameter):
                _complete_parameter(path, parameter, limits)
        if isinstance(operation.request_body, RequestBody):
            for media_type in operation.request_body.content.values():
                for schema in _objects(media_type.schema, schemas or {}):
                    _complete_object(schema, limits)
        for status, response in (operation.responses or {}).items():
            if isinstance(response, Reference):
                continue
            if status in WITHOUT_CONTENT:
                response.content = None
            if EVENTS in (response.content or {}):
                response.content = {EVENTS: OpenAPIMediaType(schema=_EVENT)}


def _operations(document: OpenAPI) -> Iterator[tuple[str, Operation]]:
    for path, item in (document.paths or {}).items():
        for method in METHODS:
            operation: Operation | None = getattr(item, method)
            if operation is not None:
                yield path, operation


def _complete_parameter(path: str, parameter: Parameter, limits: Limits) -> None:
    schema = parameter.schema
    if not isinstance(schema, Schema):
        return
    if parameter.param_in in ("query", "header"):
        _drop_null(schema)  # a query or header cannot express it
    match parameter.name:
        case "after" | "lastEventId":
            schema.pattern = POSITIONS
        case "cursor":
            schema.pattern = _cursor_of(path)
        case "room":
            schema.pattern = ROOM
        case "Idempotency-Key":
            schema.pattern = IDEMPOTENCY_KEY
        case "limit":
            schema.maximum = limits.page_limit_max
        case "takenFrom" | "takenTo":
            schema.pattern = DATE_TAKEN
        case "from" | "to":
            schema.type = None
            schema.any_of = [
                Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME),
                Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE),
                Schema(type=OpenAPIType.STRING, pattern=LOCAL_TIME),
            ]
        case _:
            pass


def _cursor_of(path: str) -> str:
    if path.endswith(HISTORY):
        return OF_HISTORY
    return OF_TIMELINE if path.endswith(TIMELINE) else CURSOR


def _drop_null(schema: Schema) -> None:
    """Turn a nullable schema into the schema of its value."""
    kinds = [each for each in schema.one_of or () if not _is_null(each)]
    if len(kinds) == 1 and isinstance(kinds[0], Schema):
        only = kinds[0]
        schema.one_of = None
        schema.type, schema.format, schema.items = only.type, only.format, only.items
        schema.enum = only.enum
    elif len(kinds) == 1:
        schema.one_of = kinds
    if isinstance(schema.type, list):
        schema.type = [each for each in schema.type if each is not OpenAPIType.NULL]
    if schema.enum:
        schema.enum = [each for each in schema.enum if each is not None]


def _is_null(schema: Schema | Reference) -> bool:
    return isinstance(schema, Schema) and schema.type is OpenAPIType.NULL


def _objects(schema: Schema | Reference | None, schemas: dict[str, Schema]) -> Iterator[Schema]:
    """Yield the objects that a body consists of."""
    if isinstance(schema, Reference):
        named = schemas[schema.ref.rpartition("/")[2]]
        if named.type is OpenAPIType.OBJECT:
            yield named
            for each in (named.properties or {}).values():
                yield from _objects(each, schemas)
    elif schema is not None:
        for each in schema.one_of or ():
            yield from _objects(each, schemas)


def _complete_object(schema: Schema, limits: Limits) -> None:
    """Reject unknown fields, and add the bounds of known ones."""
    schema.additional_properties = False
    fields = schema.properties or {}
    for field, bounds in {
        "pipeline": {"enum": list(PIPELINES)},
        "priority": {"minimum": 1, "maximum": 10},
        "limit": {"maximum": limits.page_limit_max},
        "photoIds": {"max_items": limits.page_limit_max},
        "cursor": {"pattern": CURSOR},
        "sha256": {"items": Schema(type=OpenAPIType.STRING, pattern=SHA256)},
    }.items():
        found = fields.get(field)
        if isinstance(found, Schema):
            for bound, value in bounds.items():
                setattr(found, bound, value)
    if "photoIds" in fields:
        # Generators make a class of each choice of ``oneOf``, but nothing of a condition.
        schema.schema_if, schema.then, schema.schema_else = _SELECTION


_EVENT = Schema(
    description="One event of the stream; the first one is `ready`.",
    type=OpenAPIType.OBJECT,
    required=["id", "data"],
    properties={
        "id": Schema(type=OpenAPIType.STRING, pattern=POSITIONS),
        "event": Schema(type=OpenAPIType.STRING, enum=["ready", "message"]),
        "data": Schema(type=OpenAPIType.STRING, description="JSON: an `Event`, except in `ready`."),
        "retry": Schema(type=OpenAPIType.INTEGER),
    },
)


def _null() -> Schema:
    return Schema(type=OpenAPIType.NULL)


def _given(field: str, schema: Schema) -> Schema:
    return Schema(required=[field], properties={field: schema})


_FILTERS = ("stage", "category", "clientId")
_SELECTION = (
    Schema(
        required=["photoIds"],
        properties={
            "photoIds": Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.STRING))
        },
    ),
    Schema(properties={"all": Schema(const=False), **{name: _null() for name in _FILTERS}}),
    Schema(
        any_of=[
            *(_given(name, Schema(type=OpenAPIType.STRING)) for name in _FILTERS),
            _given("all", Schema(const=True)),
        ],
    ),
)
"""The ways to select photos: if by their ids, then by nothing else; else by a filter, or all."""
