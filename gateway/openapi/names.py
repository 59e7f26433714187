"""Name the parts of the OpenAPI document as the domain does, whatever the code calls them.

A generated client makes a class of each schema and a function of each operation, so these names are
part of the contract. Classes of the code that present a read model end in ``View``; the contract
has the noun alone. A nullable enumeration gets a name too, because generators would number it.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, cast

from domain.pipeline.stages import PIPELINES

Json = dict[str, Any]

SCHEMAS = {
    "AlertsView": "AlertList",
    "Amount": "QuotaAmount",
    "AttemptView": "JobAttempt",
    "AuditEntries": "AuditEntryList",
    "Backfilled": "BackfillResult",
    "Bucket": "TimelineBucket",
    "Cancelled": "CancelledTasks",
    "Check": "HealthCheck",
    "ClientView": "ClientUsage",
    "ClientsView": "ClientList",
    "Current": "CurrentLogin",
    "DeadLetterGroups": "DeadLetterGroupList",
    "DeadLetters": "DeadLetterList",
    "DeliveryList": "WebhookDeliveryList",
    "DeliveryView": "WebhookDelivery",
    "Discarded": "DiscardResult",
    "Doing": "RunningTask",
    "History": "PhotoHistory",
    "JobHurried": "HurriedJob",
    "JobCancelled": "CancelledJob",
    "JobLine": "JobSummary",
    "JobLines": "JobSummaryList",
    "JobPrioritized": "PrioritizedJob",
    "JobRetried": "RetriedJob",
    "JobStory": "JobHistory",
    "Limit": "StageLimit",
    "Live": "Liveness",
    "OptimizedView": "OptimizedPicture",
    "Page": "PhotoList",
    "Point": "SeriesPoint",
    "Preview": "LoginPreview",
    "QueuesView": "QueueOverview",
    "Requested": "RequestedJob",
    "Result": "PhotoResult",
    "Retried": "RetryResult",
    "ReplayRequest": "WebhookReplayRequest",
    "RevocationsView": "Revocations",
    "RotatedSecret": "WebhookSecret",
    "RunningSetting": "Setting",
    "SettingsView": "SettingList",
    "SessionLine": "SessionSummary",
    "SessionLines": "SessionList",
    "Skipped": "SkippedPhoto",
    "StageView": "JobStage",
    "Ticket": "LoginTicket",
    "WireEvent": "Event",
}
"""The names that dropping ``View`` does not give."""

OPERATIONS = {
    "archive": "downloadArchive",
    "backfill": "backfillStage",
    "groupDeadLetters": "listDeadLetterGroups",
    "health": "getHealth",
    "jobStory": "getJobHistory",
    "limitQueue": "setQueueLimits",
    "listRevoked": "listRevocationHistory",
    "live": "getLiveness",
    "makeTicket": "createLoginTicket",
    "oneJob": "getJob",
    "onePhoto": "getPhoto",
    "oneSession": "getSession",
    "optimized": "getOptimizedPicture",
    "original": "getOriginal",
    "photoHistory": "getPhotoHistory",
    "photoTimeline": "getTimeline",
    "prioritizeJob": "setJobPriority",
    "ready": "getReadiness",
    "reprocess": "reprocessPhoto",
    "retryFailed": "retryFailedPhotos",
    "roomEvents": "streamEvents",
    "showCurrent": "getCurrentLogin",
    "showMe": "getMe",
    "showMetrics": "getMetrics",
    "showPresence": "getPresence",
    "showProjections": "getProjections",
    "showQueues": "getQueues",
    "showQuota": "getClientQuota",
    "showSeries": "getSeries",
    "setQuota": "setClientQuota",
    "thumbnail": "getThumbnail",
    "upload": "uploadPhoto",
    "whoAmI": "getLogin",
}
"""The ``operationId`` of routes whose function is not named as a caller would say it."""

_SHARED = {"stages": "JobStages"}
"""Properties whose type has the same name in every schema."""

_SNAKE = re.compile(r"`([a-z]+(?:_[a-z0-9]+)+)`")
_NONE = re.compile(r"(?<!-)\bNone\b(?!-)")
"""Python's None, not the header ``If-None-Match``."""

_REFERENCE = "#/components/schemas/"


def camel(name: str) -> str:
    """Return ``photo_id`` as ``photoId``."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def name_parts(document: Json) -> None:
    """Rename schemas, operations and path parameters of ``document``, in place."""
    schemas: dict[str, Json] = document["components"]["schemas"]
    renamed = {old: SCHEMAS.get(old, old.removesuffix("View")) for old in schemas}
    _require_unique(renamed.values())
    document["components"]["schemas"] = {
        new: {**schemas[old], "title": new} for old, new in renamed.items()
    }
    each_node(document, lambda node: _rename_references(node, renamed))
    each_node(document, _describe_in_json_names)
    _name_choices(document["components"]["schemas"])
    document["paths"] = {
        re.sub(r"{(\w+)}", lambda found: f"{{{camel(found[1])}}}", path): item
        for path, item in document["paths"].items()
    }
    for operation in operations_of(document):
        name = operation["operationId"]
        operation["operationId"] = OPERATIONS.get(name, name)
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                parameter["name"] = camel(parameter["name"])


def operations_of(document: Json) -> list[Json]:
    """Return the operations of all addresses."""
    return [operation for item in document["paths"].values() for operation in item.values()]


def each_node(node: Any, visit: Callable[[Json], None]) -> None:
    """Call ``visit`` with each object in the JSON value ``node``, from the outside in."""
    if isinstance(node, dict):
        found = cast("Json", node)
        visit(found)
        for value in found.values():
            each_node(value, visit)
    elif isinstance(node, list):
        for value in cast("list[Any]", node):
            each_node(value, visit)


def referring(name: str) -> Json:
    """Return a reference to the schema ``name``."""
    return {"$ref": f"{_REFERENCE}{name}"}


def referred(reference: str) -> str:
    """Return the name of the schema in a reference."""
    return reference.removeprefix(_REFERENCE)


def _require_unique(names: Iterable[str]) -> None:
    taken = list(names)
    for name in taken:
        if taken.count(name) > 1:
            raise ValueError(f"two schemas would be named {name}")


def _rename_references(node: Json, renamed: dict[str, str]) -> None:
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith(_REFERENCE):
        node["$ref"] = referring(renamed[referred(reference)])["$ref"]


def _describe_in_json_names(node: Json) -> None:
    """Docstrings name fields as Python does; callers know them as JSON."""
    text = node.get("description")
    if isinstance(text, str):
        node["description"] = _SNAKE.sub(
            lambda found: found[0] if found[1] in PIPELINES else f"`{camel(found[1])}`",
            _NONE.sub("null", text),
        )


def _name_choices(schemas: dict[str, Json]) -> None:
    """Give each nullable enumeration or map of a property a schema of its own."""
    for name in list(schemas):
        properties: dict[str, Json] = schemas[name].get("properties", {})
        for field, schema in properties.items():
            kinds = _kinds(schema)
            if len(kinds) != 1 or not ("enum" in kinds[0] or kinds[0].get("type") == "object"):
                continue
            title = _SHARED.get(field, f"{name}{field[0].upper()}{field[1:]}")
            schemas[title] = {**kinds[0], "title": title}
            told = {key: schema[key] for key in ("description",) if key in schema}
            properties[field] = {"oneOf": [referring(title), {"type": "null"}], **told}


def _kinds(schema: Json) -> list[Json]:
    """Return the inline types of a nullable schema besides null; none of any other schema."""
    if isinstance(schema.get("type"), list) and "enum" in schema and "null" in schema["type"]:
        (kind,) = (each for each in schema["type"] if each != "null")
        return [{"type": kind, "enum": [each for each in schema["enum"] if each is not None]}]
    choices: list[Json] = schema.get("oneOf", [])
    kinds = [each for each in choices if each.get("type") != "null"]
    return [] if len(kinds) == len(choices) else [each for each in kinds if "$ref" not in each]
