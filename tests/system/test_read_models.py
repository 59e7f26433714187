"""The checker finds a read model that differs from the log."""

import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.system.checker import Findings
from tests.system.ledger import Ledger
from tests.system.read_models import differences


@pytest.fixture
async def found(ledger: Ledger) -> Findings:
    await ledger.process(await ledger.upload(photo_id="one"))
    await ledger.fail(await ledger.upload(photo_id="two"), "validation")
    await ledger.tell("photo.deleted", "two")
    await ledger.tell("photo.erased", "two")
    await ledger.tell("pipeline.paused")
    return await ledger.examined()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "read-model.sqlite"


@pytest.fixture
def db(file: Path, found: Findings) -> Generator[sqlite3.Connection]:
    """A correct read model, written by hand."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(
            "CREATE TABLE photos"
            " (id, client_id, sha256, job_id, processing_status, deleted_at, version)"
        )
        db.execute("CREATE TABLE history (partition, ms, seq, type, photo_id, client_id, body)")
        digests = {photo.photo_id: photo.sha256 for photo in found.photos}
        rows = [
            ("one", "alice", digests["one"], "job-1", "completed", None, 9),
            ("two", "alice", digests["two"], "job-1", "failed", "2026", 4),
        ]
        db.executemany("INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        for entry in found.entries[0]:
            ms, seq = map(int, entry.position.partition(":")[2].split("-"))
            kind, photo_id = entry.event["type"], entry.event["data"].get("photoId", "")
            body = msgspec.json.encode(entry.event | {"id": entry.position})
            db.execute(
                "INSERT INTO history VALUES (0, ?, ?, ?, ?, 'alice', ?)",
                (ms, seq, kind, photo_id, body),
            )
        yield db


async def test_an_equal_read_model_is_no_finding(
    file: Path, found: Findings, db: sqlite3.Connection
) -> None:
    assert differences(file, found) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE photos SET processing_status = 'processing' WHERE id = 'one'",
        "UPDATE photos SET deleted_at = NULL WHERE id = 'two'",
        "UPDATE photos SET version = 3 WHERE id = 'one'",
        "UPDATE photos SET sha256 = 'f' WHERE id = 'one'",
        "UPDATE photos SET job_id = 'job-2' WHERE id = 'one'",
        "DELETE FROM photos WHERE id = 'one'",
        "UPDATE photos SET id = 'three' WHERE id = 'one'",
        "DELETE FROM history WHERE type = 'photo.processing.completed'",
        "UPDATE history SET photo_id = 'three' WHERE type = 'photo.deleted'",
        "UPDATE history SET seq = seq + 7 WHERE type = 'photo.deleted'",
        "UPDATE history SET body = replace(body, 'prev', 'next') WHERE type = 'photo.deleted'",
    ],
)
async def test_a_difference_is_found(
    file: Path, found: Findings, db: sqlite3.Connection, change: str
) -> None:
    assert db.execute(change).rowcount == 1

    assert differences(file, found) != []
