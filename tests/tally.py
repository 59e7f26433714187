"""Add up what clients have from the events alone, without the code under test."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from domain.clients.usage import Usage
from store.log.recorded import Recorded


class Total(NamedTuple):
    photos: int
    bytes: int
    jobs: int

    @classmethod
    def of(cls, usage: Usage) -> "Total":
        return cls(usage.photos, usage.bytes, usage.jobs)


def totals(recorded: Iterable[Recorded]) -> dict[str, Total]:
    """Return photos, bytes and jobs in progress, by client."""
    owner: dict[str, str] = {}
    files: dict[str, dict[str, int]] = defaultdict(dict)
    there: set[str] = set()
    running: set[str] = set()
    for each in recorded:
        event = msgspec.msgpack.decode(each.body)
        kind, data = event["type"], event["data"]
        photo_id = data.get("photoId")
        if photo_id is None:
            continue
        owner[photo_id] = event["metadata"]["clientId"]
        stored = files[photo_id]
        stored.update(_added(kind, data))
        match kind:
            case "photo.uploaded":
                there.add(photo_id)
                running.add(photo_id)
            case "photo.processing.requested":
                if data["pipeline"].startswith("backfill:"):
                    running.discard(photo_id)
                else:
                    running.add(photo_id)
            case "photo.processing.completed" | "photo.processing.failed":
                running.discard(photo_id)
            case "photo.renditions.removed":
                for file in data["files"]:
                    del stored[file["key"]]
            case "photo.deleted":
                there.discard(photo_id)
                running.discard(photo_id)
            case "photo.erased":
                stored.clear()
            case _:
                pass
    photos, sizes, jobs = Counter[str](), Counter[str](), Counter[str]()
    for photo_id, client_id in owner.items():
        photos[client_id] += photo_id in there
        jobs[client_id] += photo_id in running
        sizes[client_id] += sum(files[photo_id].values())
    return {
        client_id: Total(photos[client_id], sizes[client_id], jobs[client_id])
        for client_id in set(owner.values())
    }


def _added(kind: str, data: dict[str, Any]) -> dict[str, int]:
    match kind:
        case "photo.uploaded":
            return {data["key"]: data["fileSize"]}
        case "photo.thumbnail.generated":
            return {data["thumbnail"]["key"]: data["thumbnail"]["fileSize"]}
        case "photo.processing.stage.completed":
            return {file["key"]: file["fileSize"] for file in data["renditions"]}
        case _:
            return {}
