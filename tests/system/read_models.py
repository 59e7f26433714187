"""Compare a host's read model, by plain SQLite, with what the checker has found in the log."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import zstandard

import store.sqlite
from tests.system.checker import Findings
from tests.system.rules import Photo

NAMED = 5


def live_file(data: Path) -> Path | None:
    """Return the file of the live read model of the host on ``data``."""
    try:
        return data / "read-model" / (data / "read-model" / "current").read_text("utf-8").strip()
    except FileNotFoundError:
        return None


DICTIONARY = zstandard.ZstdCompressionDict(
    Path(store.sqlite.__file__).with_name("events.zdict").read_bytes()
)


_page = msgspec.msgpack.Decoder(tuple[list[int], list[int], list[bytes]])


def differences(file: Path, found: Findings) -> list[str]:
    """Return the differences between the read model and the log."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        shown = _rows(db, "SELECT id, client_id, sha256, job_id, processing_status,"
                          " deleted_at IS NOT NULL, version FROM photos")  # fmt: skip
        stored = dict(_stored(db))
    events = {entry.position: entry.event for of in found.entries for entry in of}
    return [
        *_compared(
            "history", *({key: _facts(e) for key, e in of.items()} for of in (stored, events))
        ),
        *_compared("photos", shown, {photo.photo_id: _row(photo) for photo in found.photos}),
    ]


def _facts(event: dict[str, Any]) -> tuple[Any, ...]:
    """Return what is compared of an event."""
    data, metadata = event.get("data", {}), event["metadata"]
    return (
        event.get("type"),
        data.get("photoId", ""),
        metadata.get("clientId"),
        metadata.get("prev"),
    )


def _stored(db: sqlite3.Connection) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the events of the history: those in pages, and the latest, which are in none."""
    for partition, packed in db.execute("SELECT partition, events FROM history_pages"):
        steps, seqs, bodies = _page.decode(_unpacked(packed))
        for ms, seq, body in zip(accumulate(steps), seqs, bodies, strict=True):
            yield f"{partition}:{ms}-{seq}", msgspec.msgpack.decode(body)
    for partition, ms, seq, body in db.execute("SELECT * FROM history"):
        yield f"{partition}:{ms}-{seq}", msgspec.msgpack.decode(body)


def _unpacked(packed: bytes) -> bytes:
    """Return the bytes of a Zstandard frame without its magic number."""
    frame = b"\x28\xb5\x2f\xfd" + packed
    return zstandard.ZstdDecompressor(dict_data=DICTIONARY).decompress(frame)


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
