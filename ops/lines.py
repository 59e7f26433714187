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
    data = event.data
    match event.type:
        case "photo.uploaded":
            said = [data["originalFilename"], f"{data['fileSize']:,} bytes", data["mimeType"]]
        case "photo.processing.started" | "photo.processing.completed":
            said = [data["pipeline"]]
        case "photo.processing.requested":
            said = [data["pipeline"], f"priority {data['priority']}"]
        case "photo.thumbnail.generated":
            thumbnail = data["thumbnail"]
            said = [f"{data['size']} px", f"{thumbnail['width']} × {thumbnail['height']}"]
        case "photo.processing.stage.completed":
            said = [data["stage"], f"{data['durationMs']:,} ms"]
        case "photo.processing.stage.failed":
            again = f"again at {data['retryAt']}" if data.get("retryAt") else None
            said = [data["stage"], data["category"], data["error"], again]
        case "photo.processing.failed":
            said = [data["stage"], data["category"], data["error"]]
        case _:
            said = [f"{name}={value}" for name, value in data.items() if name != "photoId"]
    return printable(", ".join(str(each) for each in said if each is not None))


def printable(text: object) -> str:
    """Without control characters, with which a file name could play tricks on a terminal."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text)
    )
