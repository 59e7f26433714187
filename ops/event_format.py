"""Lines for people: events in one line each, and text that no terminal can be tricked with."""

from typing import Any

import click
import msgspec


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it comes over HTTP. Types that are newer than this code are shown too."""

    id: str
    type: str
    timestamp: str
    data: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def time(self) -> str:
        """Date and time, UTC, to the second."""
        return self.timestamp[:19].replace("T", " ")

    @property
    def photo_id(self) -> str:
        return printable(self.data.get("photoId", ""))

    @property
    def actor(self) -> str:
        return printable(self.metadata.get("actor", ""))


def what(event: Shown) -> str:
    """What the event says beside its type."""
    if event.type.startswith("pipeline."):
        said = _of_pipeline(event)
    elif event.type == "access.revoked":
        said = _of_revocation(event.data)
    else:
        said = _of_photo(event)
    return printable(", ".join(str(each) for each in said if each is not None))


def _of_photo(event: Shown) -> list[Any]:
    data = event.data
    match event.type:
        case "photo.uploaded":
            return [data["originalFilename"], f"{data['fileSize']:,} bytes", data["mimeType"]]
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
            again = f"again at {data['retryAt']}" if data.get("retryAt") else None
            return [data["stage"], data["category"], data["error"], again]
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
            return [f"it was {data['cause']}", f"{data['fileSize']:,} bytes"]
        case _:
            return _fields(data)


def _of_pipeline(event: Shown) -> list[Any]:
    data = event.data
    stage = data.get("stage") or "all stages"
    match event.type:
        case "pipeline.paused" | "pipeline.resumed":
            return [stage]
        case "pipeline.drained":
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
    """The limits of a stage, or of all, as HTTP has them; nothing for none."""
    said: list[str] = []
    if (concurrency := limit.get("concurrency")) is not None:
        said.append(f"{concurrency:,} at once")
    if (rate := limit.get("rate")) is not None:
        said.append(f"{rate['max']:,} in {rate['durationMs']:,} ms")
    return ", ".join(said)


def say(text: str, *, err: bool = False) -> None:
    """Write the text to standard output, or to standard error, each line of it ``printable``."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=err)


def say_json(document: str | bytes) -> None:
    """Write the JSON document to standard output."""
    click.echo(printable_json(document))


def printable(text: object) -> str:
    """The text as a terminal may get it: one line, without characters that steer a terminal.

    What came from users or servers goes through here or ``printable_json`` before it is shown. It
    replaces the control characters of ASCII and of Latin-1 (C0, DEL, C1: escape sequences can begin
    with either), the separators of lines and paragraphs, and the characters that turn the direction
    of the text around or are invisible (all of the categories Cc, Cf, Zl, Zp, Cs, Co and Cn).
    """
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text)
    )


def printable_json(document: str | bytes) -> str:
    """The JSON document with the same characters escaped: it says the same to a program.

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
