"""What the command line reports about a log or a read model that was tampered with."""

import asyncio
import json
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from ops.maintenance.copied_log import FILES
from ops.process.embedded_valkey import url_in
from store.keys import DEFAULT_PREFIX, Keys
from store.redis.connection import connect
from tests.ops.systems import DataFolder, System, jpeg, photolog, serving_log


@pytest.fixture(scope="module")
def processed() -> Generator[tuple[Path, str]]:
    """The data folder of a system that has ended, and the id of the photo it has processed."""
    with tempfile.TemporaryDirectory(prefix="photolog-") as folder:
        path = Path(folder, "a.jpg")
        path.write_bytes(jpeg())
        with System(Path(folder, "data"), settings={"decoders": "1"}) as system:
            told = system.photolog("upload", "--wait", str(path))
            assert system.stop() == 0
        yield system.data, told.stdout.split()[0]


@pytest.fixture
def data(data: Path, processed: tuple[Path, str]) -> Path:
    """A copy of that folder for one test."""
    shutil.copytree(processed[0], data)
    return data


@pytest.fixture
def photo(processed: tuple[Path, str]) -> str:
    """The id of the photo in the folder."""
    return processed[1]


@pytest.fixture
def folder(data: Path) -> Generator[DataFolder]:
    """The folder, whose log is served while no role runs: these commands need none."""
    with serving_log(data) as served:
        yield served


async def rewrite(url: str, number: int) -> str:
    """Change the actor of one stored event, and return its position."""
    redis: Any = connect(url)
    key = Keys(DEFAULT_PREFIX).log(0)
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(key))
    change = redis.pipeline(transaction=True)  # nobody sees the log without the entry
    change.delete(key)
    for at, (entry_id, fields) in enumerate(entries):
        if at == number:
            event = msgspec.msgpack.decode(fields[b"b"])
            event["metadata"]["actor"] = "client:mallory"
            fields[b"b"] = msgspec.msgpack.encode(event)
        change.xadd(key, fields, id=entry_id)
    await change.execute()
    await redis.aclose()
    return f"0:{entries[number][0].decode()}"


def test_after_tampering_with_the_log_no_rebuild_is_recommended(
    folder: DataFolder, photo: str
) -> None:
    position = asyncio.run(rewrite(url_in(folder.data / "valkey"), 3))

    told = folder.photolog("projections", "verify")

    assert told.returncode == 1
    assert f"\n  {position}\n" in told.stdout
    assert told.stdout.splitlines()[-2].startswith("Do not rebuild yet: the log itself is broken")
    assert "projections rebuild" not in told.stdout


def test_a_read_model_is_not_rebuilt_from_a_broken_log(folder: DataFolder, photo: str) -> None:
    models = folder.data / "read-model"
    old = (models / "current").read_text()
    asyncio.run(rewrite(url_in(folder.data / "valkey"), 3))

    refused = folder.photolog("projections", "rebuild")
    stayed = (models / "current").read_text()
    forced = folder.photolog("projections", "rebuild", "--force")
    listed = folder.photolog("projections", "list")
    as_json = json.loads(folder.photolog("projections", "list", "--json").stdout)

    assert (refused.returncode, stayed) == (1, old)
    assert "the log is broken" in refused.stderr
    assert "`--force` rebuilds all the same" in refused.stderr
    kept = models / "kept" / old
    assert forced.returncode == 0
    assert f"the old generation is kept in {kept}" in forced.stdout
    assert f"kept {kept}, " in listed.stdout
    assert as_json["kept"] == [{"path": str(kept), "sizeBytes": kept.stat().st_size}]
    assert "The log is broken here:\n  0:" in refused.stderr
    events = folder.photolog("projections", "events", str(kept)).stdout
    assert "photo.uploaded" in events
    assert "mallory" not in events


def test_a_rebuild_is_compared_and_can_be_rolled_back(folder: DataFolder, photo: str) -> None:
    models = folder.data / "read-model"
    old = (models / "current").read_text()

    rebuilt = folder.photolog("projections", "rebuild")
    new = (models / "current").read_text()
    rolled_back = folder.photolog("projections", "rollback")
    listed = json.loads(folder.photolog("projections", "list", "--json").stdout)
    refused = folder.photolog("projections", "drop")
    dropped = folder.photolog("projections", "drop", "--yes")
    nothing = folder.photolog("projections", "rollback")

    assert re.search(r"^history +\d+ rows  equal$", rebuilt.stdout, re.MULTILINE)
    assert f"`photolog projections rollback` returns to generation {old}" in rebuilt.stdout
    assert f"generation {old} is live" in rolled_back.stdout
    assert (listed["generation"], listed["previous"]) == (old, new)
    assert (refused.returncode, "--yes" in refused.stderr) == (1, True)
    assert dropped.stdout == f"deleted {new}\n"
    assert nothing.returncode == 1
    assert "There is no previous generation" in nothing.stderr


def test_an_original_with_a_changed_byte_is_named(
    folder: DataFolder, photo: str, tmp_path: Path
) -> None:
    well = folder.photolog("verify", "--originals")
    [original] = (folder.data / "blobs" / "originals").glob("*/*")
    altered = bytearray(original.read_bytes())
    altered[-3] ^= 1
    original.write_bytes(altered)
    copy = tmp_path / "copy"
    shutil.copytree(folder.data / "valkey" / FILES, copy / "valkey" / FILES)
    shutil.copytree(folder.data / "blobs" / "originals", copy / "blobs" / "originals")
    before = contents(copy)

    chains = folder.photolog("verify")
    verified = folder.photolog("verify", "--originals", photo)
    as_json = json.loads(folder.photolog("verify", "--originals", "--json").stdout)
    copied = photolog("verify", "--originals", "--data", str(copy))
    sizes = folder.photolog("reconcile")
    reconciled = folder.photolog("reconcile", "--hash")
    hashed = json.loads(folder.photolog("reconcile", "--hash", "--json").stdout)["hashed"]

    assert (well.returncode, chains.returncode, sizes.returncode) == (0, 0, 0)
    assert well.stdout.endswith(f"1 original, {len(altered):,} bytes: all as they were uploaded\n")
    for told in (verified, copied, reconciled):
        assert told.returncode == 1
        key = f"originals/{original.parent.name}/{original.name}"
        assert f"altered  {key}  of photo {photo}: " in told.stdout
    assert verified.stdout.endswith(" bytes: 1 altered\n")
    assert "5 files read, " in reconciled.stdout
    assert [each["photoId"] for each in as_json["originals"]["altered"]] == [photo]
    assert (hashed["files"], [each["photoId"] for each in hashed["altered"]]) == (5, [photo])
    assert contents(copy) == before


def test_reconcile_ends_with_status_1_until_nothing_is_found(
    system: System, photo: str, tmp_path: Path
) -> None:
    blobs = system.data / "blobs"
    [original] = blobs.glob("originals/*/*")
    unnamed, stray = blobs / "renditions" / "ab" / "left", blobs / "note.txt"
    for path in (unnamed, stray):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"what nobody has named")
    data = original.read_bytes()
    original.unlink()

    young = system.photolog("reconcile")
    os.utime(unnamed, (0, 0))
    found = system.photolog("reconcile")
    health = system.photolog("health")
    removed = system.photolog("reconcile", "--remove")
    stray.unlink()
    (tmp_path / "again.jpg").write_bytes(data)
    system.photolog("upload", str(tmp_path / "again.jpg"))
    well = system.photolog("reconcile")

    assert well.returncode == 0, well.stdout
    assert [each.returncode for each in (young, found, removed)] == [1, 1, 1]
    assert "stray  note.txt  " in young.stdout
    assert "renditions/ab/left" not in young.stdout
    assert "unnamed  renditions/ab/left  " in found.stdout
    assert "To repair an original, upload the same bytes again" in found.stdout
    assert "1 original missing: upload the same bytes again" in health.stdout
    assert "removed  renditions/ab/left  " in removed.stdout
    assert original.read_bytes() == data
    assert "photo.original.restored" in system.photolog("history", photo).stdout
    assert "it was missing, " in system.photolog("history", photo).stdout
    assert "1 original missing" not in system.photolog("health").stdout


def test_a_rebuild_reports_once_where_it_keeps_the_old_read_model(
    folder: DataFolder, photo: str
) -> None:
    models = folder.data / "read-model"
    with closing(sqlite3.connect(models / (models / "current").read_text().strip())) as db:
        db.execute("UPDATE history SET body = x'78'")
        db.commit()

    told = folder.photolog("projections", "rebuild")

    assert f"{told.stdout}{told.stderr}".count("kept in") == 1
    assert "the old generation is kept in " in told.stdout
    assert ": its event " in told.stdout


def test_a_copy_is_audited_in_place_and_stays_unchanged(
    folder: DataFolder, photo: str, tmp_path: Path
) -> None:
    noted = json.loads(folder.photolog("verify", "--json").stdout)
    copy = tmp_path / "copy"
    shutil.copytree(folder.data / "valkey" / FILES, copy / "valkey" / FILES)
    before = contents(copy)
    ends = ("--upto", noted["positions"][0], "--anchor", noted["anchor"])

    whole = photolog("verify", "--data", str(copy), *ends)
    (manifest,) = (copy / "valkey" / FILES).glob("*.manifest")
    after = contents(copy)
    manifest.write_text("nonsense")
    unreadable = photolog("verify", "--data", str(copy))

    assert (whole.returncode, after) == (0, before), whole.stderr
    assert "all intact" in whole.stdout
    assert whole.stderr == f"No Photolog runs on {copy}: reading a copy of its log.\n"
    assert unreadable.returncode == 1
    assert f"\nError: Cannot read the log in {copy}: " in unreadable.stderr


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_changed_rows_of_the_read_model_are_named(folder: DataFolder, photo: str) -> None:
    models = folder.data / "read-model"
    with closing(sqlite3.connect(models / (models / "current").read_text().strip())) as db:
        db.execute("UPDATE photos SET file_size = file_size + 1")
        db.commit()

    told = folder.photolog("projections", "verify")
    folder.photolog("projections", "rebuild")
    mended = folder.photolog("projections", "verify")

    assert told.returncode == 1
    assert f"differs: a fresh fold has 1\n  {photo}\n" in told.stdout
    assert told.stdout.endswith("`photolog projections rebuild` repairs the read model.\n")
    assert mended.returncode == 0


def test_a_read_model_of_another_version_is_listed_without_its_missing_tables(
    folder: DataFolder,
) -> None:
    path = folder.data / "read-model"
    with closing(sqlite3.connect(path / (path / "current").read_text())) as db:
        db.execute("DROP TABLE audit")

    listed = folder.photolog("projections", "list", "--json")

    assert listed.returncode == 0, listed.stderr
    tables = {each["table"]: each["rows"] for each in json.loads(listed.stdout)["tables"]}
    assert tables["photos"] == 1
    assert "audit" not in tables
    assert list(path.glob("*-doubted")) == []
