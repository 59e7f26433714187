"""Give the fields of the OpenAPI document the formats that Python's types do not tell.

Moments are text in the code, because events keep them as they were written. Files are bytes, which
generators know as ``format: binary``.
"""

import re

from gateway.openapi.names import Json, each_node, operations_of

MOMENTS = frozenset(
    {"timestamp", "time", "before", "everyone", "until", "since", "pausedUntil"},
)
"""Names of moments in UTC; besides them, every name that ends in ``At``."""

LOCAL = frozenset({"takenAt", "digitizedAt"})
"""Times as the camera wrote them, often without an offset."""

NO_MOMENTS = frozenset({"Exposure", "Gps"})
"""Schemas whose ``time`` is something else: a duration, or the time of the satellites."""

REQUEST = "Request"
"""Ends the names of bodies of requests, whose times may also be dates or local times."""


def add_formats(document: Json) -> None:
    """Add ``date-time`` and ``binary`` to ``document``, and write patterns for ECMAScript."""
    for name, schema in document["components"]["schemas"].items():
        if name.endswith(REQUEST) or name in NO_MOMENTS:
            continue
        for field, described in schema.get("properties", {}).items():
            if field not in LOCAL and (field in MOMENTS or field.endswith("At")):
                _mark(described)
    for operation in operations_of(document):
        for response in operation["responses"].values():
            for kind, media in response.get("content", {}).items():
                if kind.startswith(("image/", "application/zip")):
                    media["schema"] = {"type": "string", "format": "binary"}
    each_node(document, _in_ecmascript)
    each_node(document, _list_types)


def _mark(schema: Json) -> None:
    for kind in (schema, *schema.get("oneOf", ())):
        if kind.get("type") == "string":
            kind.setdefault("format", "date-time")


def _in_ecmascript(node: Json) -> None:
    """Patterns of JSON Schema are those of ECMAScript, which lacks ``\\A`` and ``\\Z``."""
    pattern = node.get("pattern")
    if isinstance(pattern, str):
        node["pattern"] = re.sub(r"\\Z$", "$", re.sub(r"^\\A", "^", pattern))


def _list_types(node: Json) -> None:
    """Write ``type: [string, "null"]`` instead of a choice, and a single choice as a schema."""
    choices: list[Json] = node.get("oneOf", [])
    kinds = [each for each in choices if each != {"type": "null"}]
    if len(kinds) != 1:
        return
    kind, is_nullable = kinds[0], len(choices) > 1
    if is_nullable and ("$ref" in kind or not isinstance(kind.get("type"), str)):
        return
    del node["oneOf"]
    node.update({**kind, **node})
    if is_nullable:
        node["type"] = [kind["type"], "null"]
