"""Compare a host's read model, by plain SQLite, with what the checker has found in the log."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from tests.system.checker import Findings
from tests.system.rules import Photo

NAMED = 5


def live_file(data: Path) -> Path | None:
    """Return the file of the live read model of the host on ``data``."""
    try:
        return data / "read-model" / (data / "read-model" / "current").read_text("utf-8").strip()
    except FileNotFoundError:
        return None


def differences(file: Path, found: Findings) -> list[str]:
    """Return the differences between the read model and the log."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        shown = _rows(db, "SELECT id, client_id, sha256, job_id, processing_status,"
                          " deleted_at IS NOT NULL, version FROM photos")  # fmt: skip
        stored = _rows(db, "SELECT partition || ':' || ms || '-' || seq, type, photo_id, client_id,"
                           " body FROM history")  # fmt: skip
    events = {
        entry.position: (
            entry.event["type"],
            entry.event["data"].get("photoId", ""),
            entry.event["metadata"]["clientId"],
        )
        for of_partition in found.entries
        for entry in of_partition
    }
    bodies = {position: msgspec.json.decode(row[3]) for position, row in stored.items()}
    return [
        *_compared("history", {key: row[:3] for key, row in stored.items()}, events),
        *_compared("photos", shown, {photo.photo_id: _row(photo) for photo in found.photos}),
        *_compared(
            "the bodies of history",
            {key: (body["id"], body["metadata"].get("prev")) for key, body in bodies.items()},
            {
                entry.position: (entry.position, entry.event["metadata"]["prev"])
                for of_partition in found.entries
                for entry in of_partition
            },
        ),
    ]


def _rows(db: sqlite3.Connection, query: str) -> dict[str, tuple[Any, ...]]:
    return {row[0]: tuple(row[1:]) for row in db.execute(query)}


def _row(photo: Photo) -> tuple[Any, ...]:
    job = photo.job
    status = "queued"
    if job is not None and job.started:
        status = "processing"
    if job is not None and job.ended:
        status = "completed" if job.failure is None else "failed"
    return (
        *(photo.client_id, photo.sha256, job.job_id if job else "", status),
        *(int(photo.deleted), photo.version),
    )


def _compared(
    table: str, ours: dict[str, tuple[Any, ...]], theirs: dict[str, tuple[Any, ...]]
) -> Sequence[str]:
    wrong = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
    return [
        f"{table}: {key} is {ours.get(key)} and not {theirs.get(key)}"
        for key in sorted(wrong)[:NAMED]
    ] + ([f"{table}: {len(wrong)} rows differ"] if len(wrong) > NAMED else [])
