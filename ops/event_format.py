"""Format events as lines for people, and text so that it cannot manipulate a terminal."""

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
    if event.type.startswith("pipeline."):
        parts = _of_pipeline(event)
    elif event.type == "access.revoked":
        parts = _of_revocation(event.data)
    else:
        parts = _of_photo(event)
    return printable(", ".join(str(each) for each in parts if each is not None))


def _of_photo(event: Shown) -> list[Any]:
    data = event.data
    match event.type:
        case "photo.uploaded":
            about = [data["originalFilename"], f"{data['fileSize']:,} bytes", data["mimeType"]]
            return [*about, data.get("key")]
        case "photo.processing.started" | "photo.processing.completed":
            return [data["pipeline"]]
        case "photo.processing.requested":
            return [data["pipeline"], f"priority {data['priority']}"]
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
        case "photo.processing.discarded":
            return [data["reason"]]
        case "photo.renditions.superseded":
            until = f"to be removed at {data['removeAt']}" if data["removeAt"] else None
            return [*_of_files(data["files"]), until]
        case "photo.renditions.removed":
            return _of_files(data["files"])
        case "photo.original.restored":
            return [f"it was {data['cause']}", f"{data['fileSize']:,} bytes", data.get("key")]
        case _:
            return _fields(data)


def _of_pipeline(event: Shown) -> list[Any]:
    data = event.data
    stage = data.get("stage") or "all stages"
    match event.type:
        case "pipeline.paused" | "pipeline.resumed":
            return [stage]
        case "pipeline.cancelled" | "pipeline.drained":
            return [stage, f"{data['tasks']:,} tasks", data["reason"]]
        case "pipeline.limited":
            return [stage, limits(data["limit"]) or "no limit"]
        case "pipeline.alerted":
            return [stage, data["level"], data["category"], data["error"]]
        case _:
            return _fields(data)


def _of_files(files: list[dict[str, Any]]) -> list[Any]:
    count = "1 file" if len(files) == 1 else f"{len(files):,} files"
    return [count, f"{sum(each['fileSize'] for each in files):,} bytes"]


def _of_revocation(data: dict[str, Any]) -> list[Any]:
    whose = data.get("clientId") or "everyone"
    if data.get("tokenId"):
        return [f"token {data['tokenId']}", data["reason"] or None]
    return [f"tokens of {whose} issued up to {data['before']}", data["reason"] or None]


def _fields(data: dict[str, Any]) -> list[Any]:
    return [f"{name}={value}" for name, value in data.items() if name != "photoId"]


def limits(limit: dict[str, Any]) -> str:
    """Return the limits of a stage, or of all stages, in words; empty if there are none."""
    parts: list[str] = []
    if (concurrency := limit.get("concurrency")) is not None:
        parts.append(f"{concurrency:,} at once")
    if (rate := limit.get("rate")) is not None:
        parts.append(f"{rate['max']:,} in {rate['durationMs']:,} ms")
    return ", ".join(parts)


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
