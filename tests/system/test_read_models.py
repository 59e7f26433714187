"""The checker finds a read model that differs from the log."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import zstandard

from tests.system.checker import Findings
from tests.system.ledger import Ledger
from tests.system.read_models import DICTIONARY, differences


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


LAST = "(ms, seq) IN (SELECT max(ms), max(seq) FROM history GROUP BY ms ORDER BY ms DESC LIMIT 1)"

ANOTHER = msgspec.msgpack.encode({"metadata": {}}).hex()

IN_PAGE = 5
"""How many of the events are in a page."""


def packed(events: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Return a page as the read model has it: a Zstandard frame without its magic number."""
    times, seqs, bodies = zip(*events, strict=True)
    steps = [times[0], *(after - before for before, after in pairwise(times))]
    compressor = zstandard.ZstdCompressor(dict_data=DICTIONARY)
    return compressor.compress(msgspec.msgpack.encode([steps, seqs, bodies]))[4:]


@pytest.fixture
def events(found: Findings) -> list[tuple[int, int, bytes]]:
    """Return the time, number and body of each event."""
    stored: list[tuple[int, int, bytes]] = []
    for entry in found.entries[0]:
        ms, seq = map(int, entry.position.partition(":")[2].split("-"))
        stored.append((ms, seq, msgspec.msgpack.encode(entry.event)))
    return stored


@pytest.fixture
def db(
    file: Path, found: Findings, events: list[tuple[int, int, bytes]]
) -> Generator[sqlite3.Connection]:
    """A correct read model, written by hand."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(
            "CREATE TABLE photos"
            " (id, client_id, sha256, job_id, processing_status, deleted_at, version)"
        )
        db.execute("CREATE TABLE history (partition, ms, seq, body)")
        db.execute("CREATE TABLE history_pages (partition, events)")
        digests = {photo.photo_id: photo.sha256 for photo in found.photos}
        rows = [
            ("one", "alice", digests["one"], "job-1", "completed", None, 9),
            ("two", "alice", digests["two"], "job-1", "failed", "2026", 4),
        ]
        db.executemany("INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        db.execute("INSERT INTO history_pages VALUES (0, ?)", (packed(events[:IN_PAGE]),))
        db.executemany("INSERT INTO history VALUES (0, ?, ?, ?)", events[IN_PAGE:])
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
        f"DELETE FROM history WHERE {LAST}",
        f"UPDATE history SET seq = seq + 7 WHERE {LAST}",
        f"UPDATE history SET body = x'{ANOTHER}' WHERE {LAST}",
        "DELETE FROM history_pages",
    ],
)
async def test_a_difference_is_found(
    file: Path, found: Findings, db: sqlite3.Connection, change: str
) -> None:
    assert db.execute(change).rowcount == 1

    assert differences(file, found) != []


@pytest.mark.parametrize("left", [slice(1, IN_PAGE), slice(0, IN_PAGE - 1)])
async def test_an_event_missing_from_a_page_is_found(
    file: Path,
    found: Findings,
    db: sqlite3.Connection,
    events: list[tuple[int, int, bytes]],
    left: slice,
) -> None:
    db.execute("UPDATE history_pages SET events = ?", (packed(events[left]),))

    assert differences(file, found) != []
