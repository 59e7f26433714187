"""An auditor that believes nothing but the bytes of the log and the files.

It knows the rules from their description, not from the code that it checks.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from store.blobs import FolderBlobs
from store.log import Log

NOTHING_BEFORE = "0" * 64

ONCE = {
    "photo.uploaded": (),
    "photo.processing.started": ("jobId",),
    "photo.processing.stage.completed": ("jobId", "stage"),
    "photo.thumbnail.generated": ("jobId", "size"),
    "photo.processing.completed": ("jobId",),
    "photo.processing.failed": ("jobId",),
}
"""Events that count once, and what tells them apart."""


@dataclass
class Findings:
    """What the log and the files say; ``problems`` is empty where all rules hold."""

    uploaded: set[str] = field(default_factory=set[str])
    completed: set[str] = field(default_factory=set[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    named: dict[str, int] = field(default_factory=dict[str, int])
    stray: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])


async def examine(log: Log, blobs: FolderBlobs) -> Findings:
    """Read everything and say what is not as it should be."""
    found = Findings()
    for partition in range(log.partitions):
        histories: dict[str, list[bytes]] = {}
        async for recorded in log.scan(partition):
            event = msgspec.msgpack.decode(recorded.body)
            histories.setdefault(event["data"]["photoId"], []).append(recorded.body)
        for photo_id, bodies in histories.items():
            _check_history(photo_id, bodies, found)
    stored = {blob.key: blob.size for blob in await blobs.keys("")}
    found.stray = sorted(stored.keys() - found.named.keys())
    for key, size in found.named.items():
        if stored.get(key) != size:
            found.problems.append(f"{key}: named with {size} bytes, stored {stored.get(key)}")
    return found


def _check_history(photo_id: str, bodies: list[bytes], found: Findings) -> None:
    prev = NOTHING_BEFORE
    seen: Counter[tuple[Any, ...]] = Counter()
    for version, body in enumerate(bodies, start=1):
        event = msgspec.msgpack.decode(body)
        if event["metadata"]["prev"] != prev or event["metadata"]["photoVersion"] != version:
            found.problems.append(f"{photo_id}: the chain breaks at version {version}")
        prev = hashlib.sha256(body).hexdigest()
        kind, data = event["type"], event["data"]
        if (kind == "photo.uploaded") != (version == 1):
            found.problems.append(f"{photo_id}: {kind} at version {version}")
        if kind in ONCE:
            seen[kind, *(data[name] for name in ONCE[kind])] += 1
        _note(photo_id, kind, data, found)
    found.problems += [f"{photo_id}: {what} came {n} times" for what, n in seen.items() if n > 1]


def _note(photo_id: str, kind: str, data: dict[str, Any], found: Findings) -> None:
    match kind:
        case "photo.uploaded":
            found.uploaded.add(photo_id)
            found.named[data["key"]] = data["fileSize"]
        case "photo.thumbnail.generated":
            found.named[data["thumbnail"]["key"]] = data["thumbnail"]["fileSize"]
        case "photo.processing.stage.completed":
            found.named.update({each["key"]: each["fileSize"] for each in data["renditions"]})
        case "photo.processing.completed":
            found.completed.add(photo_id)
        case "photo.processing.failed":
            found.failed[photo_id] = data["error"]
        case _:
            pass
