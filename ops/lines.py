"""Events as people read them: what happened, in one line."""

from typing import Any

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


def printable(text: object) -> str:
    """Without control characters, with which a file name could play tricks on a terminal."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text)
    )
