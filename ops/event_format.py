"""Format events as lines for people, and text so that it cannot manipulate a terminal."""

import re
from typing import Any

import click
import msgspec


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An event as HTTP delivers it. Its type may be newer than this code."""

    id: str
    type: str
    timestamp: str
    data: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def time(self) -> str:
        """Return date and time in UTC, to the second."""
        return self.timestamp[:19].replace("T", " ")

    @property
    def photo_id(self) -> str:
        return printable(self.data.get("photoId", ""))

    @property
    def actor(self) -> str:
        return printable(self.metadata.get("actor", ""))


def what(event: Shown) -> str:
    """Return the content of the event, without its type, in a line."""
    if event.type.startswith(("pipeline.", "projections.", "log.")):
        parts = _of_system(event)
    elif event.type == "access.revoked":
        parts = _of_revocation(event.data)
    elif event.type.startswith("access.key."):
        parts = _of_key(event.data)
    elif event.type.startswith("webhook."):
        parts = _of_webhook(event.data)
    elif event.type.startswith("session."):
        parts = _of_session(event)
    elif event.type == "client.quota.changed":
        parts = _of_quota(event.data)
    else:
        parts = _of_photo(event)
    return printable(", ".join(str(each) for each in parts if each is not None))


def _of_photo(event: Shown) -> list[Any]:
    data = event.data
    match event.type:
        case "photo.uploaded":
            about = [data["originalFilename"], plural(data["fileSize"], "byte"), data["mimeType"]]
            return [*about, data.get("key")]
        case "photo.processing.started" | "photo.processing.completed":
            return [data["pipeline"]]
        case "photo.processing.requested" | "photo.processing.prioritized":
            return [data.get("pipeline"), f"priority {data['priority']}", data.get("reason")]
        case "photo.thumbnail.generated":
            thumbnail = data["thumbnail"]
            return [f"{data['size']} px", f"{thumbnail['width']} × {thumbnail['height']}"]
        case "photo.processing.stage.completed":
            return [data["stage"], f"{data['durationMs']:,} ms"]
        case "photo.processing.stage.failed":
            retry = f"retry at {data['retryAt']}" if data.get("retryAt") else None
            return [data["stage"], data["category"], data["error"], retry]
        case "photo.processing.failed":
            return [data["stage"], data["category"], data["error"]]
        case "photo.processing.discarded" | "photo.processing.hurried":
            return [data.get("reason")]
        case "photo.renditions.superseded":
            until = f"to be removed at {data['removeAt']}" if data["removeAt"] else None
            return [*_of_files(data["files"]), until]
        case "photo.renditions.removed":
            return _of_files(data["files"])
        case "photo.original.restored":
            return [f"it was {data['cause']}", plural(data["fileSize"], "byte"), data.get("key")]
        case _:
            return _fields(data)


def _of_system(event: Shown) -> list[Any]:
    data = event.data
    stage = data.get("stage") or "all stages"
    match event.type:
        case "pipeline.paused" | "pipeline.resumed":
            until = f"until {data['until']}" if data.get("until") else None
            ended = "its time has come" if data.get("ended") else None
            return [stage, until, ended, data.get("reason")]
        case "pipeline.cancelled" | "pipeline.drained":
            return [stage, plural(data["tasks"], "task"), data["reason"]]
        case "pipeline.limited":
            return [stage, limits(data["limit"]) or "no limit", data.get("reason")]
        case "pipeline.alerted":
            return [stage, data["level"], data["category"], data["error"]]
        case "projections.rebuild.requested":
            return [data.get("reason")]
        case "projections.rebuild.progressed":
            rate = f"{data['eventsPerS']:,} events/s"
            return [data["host"], f"{data['percent']} %", rate, f"{data['secondsLeft']:,} s left"]
        case "projections.rebuild.completed":
            took = f"{data['events']:,} events in {data['durationMs'] / 1000:.1f} s"
            return [data["host"], data["generation"], took]
        case "projections.rebuild.failed":
            return [data["host"], data["error"]]
        case "log.recovered":
            only = data.get("partitions")
            return [
                f"epoch {data['epoch']}",
                f"partitions {' '.join(map(str, only))}" if only else None,
                plural(data["events"], "event"),
                *data.get("lost", ()),
            ]
        case _:
            return _fields(data)


def _of_session(event: Shown) -> list[Any]:
    data = event.data
    session = f"session {data['sessionId']}"
    match event.type:
        case "session.opened":
            expected = data.get("expected")
            return [session, None if expected is None else f"{expected:,} photos expected"]
        case "session.duplicate.found":
            return [session, data["originalFilename"], f"as photo {data['duplicateOf']}"]
        case "session.closed":
            return [session, data.get("reason")]
        case "session.completed" | "session.expired":
            totals = data["totals"]
            names = ("received", "duplicates", "completed", "failed", "deleted")
            return [session, *(f"{totals[name]:,} {name}" for name in names if totals[name])]
        case _:
            return [session, *_fields(data)]


def _of_files(files: list[dict[str, Any]]) -> list[Any]:
    return [plural(len(files), "file"), plural(sum(each["fileSize"] for each in files), "byte")]


def _of_revocation(data: dict[str, Any]) -> list[Any]:
    whose = data.get("clientId") or "everyone"
    if data.get("tokenId"):
        return [f"token {data['tokenId']}", data["reason"] or None]
    return [f"tokens of {whose} issued up to {data['before']}", data["reason"] or None]


def _of_key(data: dict[str, Any]) -> list[Any]:
    whose = f"client {data['clientId']}" if data.get("clientId") else None
    until = f"until {data['expiresAt']}" if data.get("expiresAt") else None
    scopes = " ".join(data.get("scopes", ())) or None
    return [f"key {data['keyId']}", data["name"], whose, scopes, until, data.get("reason") or None]


def _of_quota(data: dict[str, Any]) -> list[Any]:
    return [f"client {data['clientId']}", quota_words(data["quota"]), data.get("reason") or None]


def quota_words(own: dict[str, int | None]) -> str:
    """Return the limits that a client has of its own, in words; 0 is no limit."""
    parts = [
        f"{re.sub('(?=[A-Z])', '-', name).lower()} {_limit(name, most)}"
        for name, most in own.items()
        if most is not None
    ]
    return ", ".join(parts) or "the limits of the settings"


def _limit(name: str, most: int) -> str:
    if not most:
        return "no limit"
    return sized(most) if name == "bytes" else f"{most:,}"


def _of_webhook(data: dict[str, Any]) -> list[Any]:
    whose = f"client {data['clientId']}" if data.get("clientId") else None
    types = " ".join(data.get("types", ())) or None
    after = f"after {' '.join(data['after'])}" if data.get("after") else None
    cause, reason = data.get("cause"), data.get("reason")
    return [f"webhook {data['webhookId']}", whose, data.get("url"), types, after, cause, reason]


def _fields(data: dict[str, Any]) -> list[Any]:
    """Return the fields of an event that this code has no words for."""
    told = {name: value for name, value in data.items() if name != "photoId"}
    return [f"{name}={_value(value)}" for name, value in told.items() if value not in (None, [])]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def limits(limit: dict[str, Any]) -> str:
    """Return the limits of a stage, or of all stages, in words; empty if there are none."""
    parts: list[str] = []
    if (concurrency := limit.get("concurrency")) is not None:
        parts.append(f"{concurrency:,} at once")
    if (rate := limit.get("rate")) is not None:
        parts.append(f"{rate['max']:,} in {rate['durationMs']:,} ms")
    return ", ".join(parts)


def plural(count: int, noun: str) -> str:
    """Return the count with the noun, whose plural ends in s: ``1 photo``, ``1,200 photos``.

    A word that does not count things, such as ``uploaded``, stays as it is.
    """
    stays = count == 1 or noun not in COUNTED
    return f"{count:,} {noun}" if stays else f"{count:,} {noun}s"


def sized(size_bytes: float) -> str:
    """Return the size in a suitable decimal unit: ``812 bytes``, ``1.5 MB``, ``10 GB``."""
    value, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < UNIT_STEP:
            break
        value, unit = value / 1000, larger
    if unit == "bytes":
        return plural(int(value), "byte")
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


COUNTED = frozenset(
    {
        *("byte", "duplicate", "event", "file", "job", "key", "partition", "photo", "task"),
        *("time", "dead letter", "delayed task", "original", "segment", "new segment"),
    }
)
"""The nouns that have a plural."""

UNIT_STEP = 999.95
"""From here on, a number is written in the next larger unit."""


def say(text: str, *, err: bool = False) -> None:
    """Write the text to standard output or standard error, each line made ``printable``."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=err)


def say_json(document: str | bytes) -> None:
    """Write the JSON document to standard output."""
    click.echo(printable_json(document))


def printable(text: object) -> str:
    """Return the text as one line without characters that control a terminal.

    Everything from users or servers passes through here or ``printable_json`` before it is shown.
    This replaces the control characters of ASCII and Latin-1 (C0, DEL, C1: escape sequences can
    begin with either), the separators of lines and paragraphs, and characters that reverse the
    direction of the text or are invisible (all of the categories Cc, Cf, Zl, Zp, Cs, Co and Cn).
    """
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text)
    )


def printable_json(document: str | bytes) -> str:
    """Return the JSON document with these characters escaped; a program reads the same values.

    Line breaks between values stay.
    """
    text = document.decode("utf-8", "replace") if isinstance(document, bytes) else document
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\r\t" else _escaped(char) for char in text
    )


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
