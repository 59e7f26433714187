"""Exports that were altered or crafted: refused before anything is written."""

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.clients.api_keys import CreateApiKey
from ops.config.settings import Settings
from ops.errors import UserError
from ops.maintenance import import_note
from ops.maintenance.audit import audit
from ops.maintenance.export_check import DamagedExport, check
from ops.maintenance.export_file import Export
from ops.maintenance.log_export import MANIFEST, export
from ops.maintenance.log_import import Imported, import_
from ops.runtime.wiring import open_log
from store.archive.archive import FOLDER, Archive
from store.archive.segment import SEGMENT_BYTES_MAX, Entry, Segment, encode
from store.blobs.folder import FolderBlobs
from store.blobs.interface import Blobs, original_key
from store.errors import Corrupt, StoreError
from store.log.control import ControlLog
from store.log.log import Log
from store.redis.connection import Client
from tests.conftest import CONTEXT
from tests.store.archive.segments import fill
from tests.store.blob_stores import content

Members = dict[str, bytes]
Change = Callable[[list[Entry]], list[Entry]]

ORIGINAL = f"blobs/{original_key('ab' * 16)}"
"""The name of a member that no event names."""


@pytest.fixture
def new_blobs(tmp_path: Path) -> Blobs:
    return FolderBlobs(tmp_path / "new-blobs")


@pytest.fixture
async def members(log: Log, tmp_path: Path) -> Members:
    """The members of a sound export with three photos and six events in one segment."""
    blobs = FolderBlobs(tmp_path / "blobs")
    for photo_id in await fill(log, 3):
        await blobs.put(original_key(photo_id), photo_id.encode())
    buffer = io.BytesIO()
    await export(log, Archive(blobs, log.log_id), buffer, blobs=blobs)
    buffer.seek(0)
    found: Members = {}
    with tarfile.open(fileobj=buffer) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
    return found


def written(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def originals(members: Members) -> list[str]:
    return [name for name in members if name.startswith("blobs/")]


def segment_of(members: Members) -> str:
    (name,) = (name for name in members if name.startswith(FOLDER))
    return name


def resealed(members: Members, change: Change, *, log_id: str | None = None) -> Members:
    """Return the members with a segment that is whole and has other entries."""
    name = segment_of(members)
    segment = Segment(members[name])
    entries = change(list(segment.entries()))
    data = encode(entries, log_id=log_id or segment.head.log, partition=0, previous=None)
    return {**members, name: data}


def described(members: Members, **manifest: Any) -> Members:
    """Return the members with another manifest."""
    return {
        **members,
        MANIFEST: json.dumps({**json.loads(members[MANIFEST]), **manifest}).encode(),
    }


def with_body(entry: Entry, body: bytes) -> Entry:
    at = entry.parts.index(b"b") + 1
    return Entry(entry.entry_id, [*entry.parts[:at], body, *entry.parts[at + 1 :]])


def naming(entry: Entry, key: str) -> Entry:
    """Return the entry of an upload that names another file."""
    event = msgspec.msgpack.decode(entry.fields[b"b"])
    event["data"]["key"] = key
    return with_body(entry, msgspec.msgpack.encode(event))


async def imported(
    log: Log, blobs: Blobs, path: Path, *, damaged: bool = False, revoke_access: bool = False
) -> Imported:
    source = Export(path)
    try:
        checked = await check(source, accept_damage=damaged)
        return await import_(log, blobs, source, checked, revoke_access=revoke_access)
    finally:
        source.close()


def swapped(entries: list[Entry]) -> list[Entry]:
    """Exchange the bodies of two events that are not the first ones of their photos."""
    one, other = entries[1], entries[3]
    return [
        entries[0],
        with_body(one, other.fields[b"b"]),
        entries[2],
        with_body(other, one.fields[b"b"]),
        *entries[4:],
    ]


UNSOUND: dict[str, tuple[Callable[[Members], Members], str]] = {
    "no ranges": (lambda m: described(m, ranges=[]), "one range for each of 1 partitions"),
    "a range twice": (
        lambda m: described(m, ranges=json.loads(m[MANIFEST])["ranges"] * 2),
        "one range for each",
    ),
    "the range of another partition": (
        lambda m: described(m, ranges=[{"partition": 5, "first": None, "last": None}]),
        "one range for each",
    ),
    "no partitions": (lambda m: described(m, partitions=0, ranges=[]), "names 0 partitions"),
    "negative partitions": (lambda m: described(m, partitions=-1), "names -1 partitions"),
    "a million partitions": (lambda m: described(m, partitions=10**6), "names 1000000 partitions"),
    "a segment of no partition": (
        lambda m: {**m, f"{FOLDER}/01/{'0' * 16}-{'0' * 20}": b""},
        "but only 1 partitions",
    ),
    "the first events are cut off": (
        lambda m: resealed(m, lambda entries: entries[2:]),
        "of the export begins at",
    ),
    "the last events are cut off": (
        lambda m: resealed(m, lambda entries: entries[:-2]),
        "of the export ends at",
    ),
    "another log": (
        lambda m: resealed(m, lambda entries: entries, log_id="f" * 32),
        "belongs to the log ffff",
    ),
    "a body that is no event": (
        lambda m: resealed(m, lambda e: [*e[:3], with_body(e[3], b"\xc1junk"), *e[4:]]),
        "cannot be read",
    ),
    "10,000 fields": (
        lambda m: resealed(
            m, lambda e: [*e[:3], Entry(e[3].entry_id, e[3].parts + [b"x", b"y"] * 9_996), *e[4:]]
        ),
        "has 10,000 fields",
    ),
    "an event that names no photo's file": (
        lambda m: resealed(m, lambda e: [naming(e[0], "log/id"), *e[1:]]),
        "names the file 'log/id', which is not one of a photo",
    ),
    "a file beside the photos": (
        lambda m: {**m, "blobs/log/id": b"deadbeef"},
        "'blobs/log/id' that no export has",
    ),
    "a segment among the photos": (
        lambda m: {**m, f"blobs/{segment_of(m)}": b"x"},
        "that no export has",
    ),
    "a file in another folder": (
        lambda m: {**m, "blobs/originals/../../x": b"x"},
        "that no export has",
    ),
    "a manifest that is too deep": (lambda m: {**m, MANIFEST: b"[" * 100_000}, "export of a log"),
}


@pytest.mark.parametrize("what", UNSOUND)
async def test_an_unsound_export_is_refused_as_a_whole(
    redis: Client, prefix: str, members: Members, new_blobs: Blobs, tmp_path: Path, what: str
) -> None:
    change, message = UNSOUND[what]
    path = written(tmp_path / "unsound.tar", change(members))
    new = await Log.open(redis, prefix=f"{prefix}-new")

    with pytest.raises((UserError, StoreError), match=message) as refusal:
        await imported(new, new_blobs, path)

    assert not isinstance(refusal.value, DamagedExport)
    assert await redis.exists(new.keys.log(0)) == 0
    assert await new_blobs.keys("") == []


@pytest.mark.parametrize("what", ["altered", "emptied", "missing", "broken"])
async def test_damage_is_named_and_imported_only_on_request(
    redis: Client,
    prefix: str,
    log: Log,
    members: Members,
    new_blobs: Blobs,
    tmp_path: Path,
    what: str,
) -> None:
    name = originals(members)[0]
    key = name.removeprefix("blobs/")
    changed, damage, stored = {
        "altered": ({**members, name: b"X" * len(members[name])}, f"altered  {key}", 2),
        "emptied": ({**members, name: b""}, f"altered  {key}", 2),
        "missing": ({n: d for n, d in members.items() if n != name}, f"missing  {key}", 2),
        "broken": (resealed(members, swapped), "broken  ", 3),
    }[what]
    path = written(tmp_path / "damaged.tar", changed)
    new = await Log.open(redis, prefix=f"{prefix}-new")

    with pytest.raises(DamagedExport) as refusal:
        await imported(new, new_blobs, path)

    assert all(each.startswith(damage) for each in refusal.value.damages)
    assert await redis.exists(new.keys.log(0)) == 0
    found = await imported(new, new_blobs, path, damaged=True)
    assert (found.events, found.blobs) == (6, stored)


@pytest.mark.parametrize("finished", [True, False])
async def test_the_sound_export_repairs_what_another_one_has_imported(
    redis: Client,
    prefix: str,
    log: Log,
    members: Members,
    new_blobs: Blobs,
    tmp_path: Path,
    finished: bool,
) -> None:
    name = originals(members)[0]
    other = resealed({**members, name: b"X" * len(members[name])}, swapped)
    new = await Log.open(redis, prefix=f"{prefix}-new")
    await imported(new, new_blobs, written(tmp_path / "other.tar", other), damaged=True)
    key = name.removeprefix("blobs/")
    await new_blobs.put(key, b"X" * len(members[name]))
    if not finished:  # as if it had been killed before the end
        await redis.hdel(new.keys.meta, "imported", "imported-upto")
        await redis.hset(new.keys.meta, "importing", "0" * 64)

    found = await imported(new, new_blobs, written(tmp_path / "sound.tar", members))

    assert (found.events, found.blobs) == (6, 1)
    assert (await audit(new)).anchor == (await audit(log)).anchor
    assert await content(new_blobs, key) == members[name]


async def test_an_import_that_was_used_since_is_not_replaced(
    redis: Client, prefix: str, members: Members, new_blobs: Blobs, tmp_path: Path
) -> None:
    new = await Log.open(redis, prefix=f"{prefix}-new")
    await imported(new, new_blobs, written(tmp_path / "one.tar", members))
    await fill(new, 1)
    other = written(tmp_path / "other.tar", {**members, ORIGINAL: b"x"})

    with pytest.raises(UserError, match="has been used since an earlier import"):
        await imported(new, new_blobs, other)

    assert (await audit(new)).events == 8


async def test_files_that_no_event_names_are_left_out(
    redis: Client, prefix: str, members: Members, new_blobs: Blobs, tmp_path: Path
) -> None:
    new = await Log.open(redis, prefix=f"{prefix}-new")

    found = await imported(
        new, new_blobs, written(tmp_path / "more.tar", {**members, ORIGINAL: b"x"})
    )

    assert (found.blobs, found.unnamed) == (3, 1)
    assert len(await new_blobs.keys("originals")) == 3


async def test_access_that_comes_with_an_export_can_be_revoked(
    redis: Client, prefix: str, log: Log, new_blobs: Blobs, tmp_path: Path
) -> None:
    for name, now in (("present", CONTEXT.now), ("to-come", datetime(2200, 1, 1, tzinfo=UTC))):
        key = CreateApiKey(
            now=now, key_id=name, name=name, digest="ab" * 32, scopes=frozenset(["ops.read"])
        )
        await ControlLog(log).execute(key, msgspec.structs.replace(CONTEXT, now=now))
    path = tmp_path / "export.tar"
    with path.open("wb") as file:
        await export(log, Archive(new_blobs, log.log_id), file)
    new = await Log.open(redis, prefix=f"{prefix}-new")

    found = await imported(new, new_blobs, path, revoke_access=True)

    controls = (await ControlLog(new).load()).controls
    assert found.keys == 2
    assert controls.api_keys.active == {}
    assert controls.revocations.everyone is not None
    assert (await audit(new)).breaks == []


async def test_no_role_starts_on_a_log_whose_import_has_not_ended(
    redis: Client, prefix: str, valkey_url: str
) -> None:
    await import_note.begin(await Log.open(redis, prefix=prefix), "0" * 64)

    with pytest.raises(UserError, match="import into this log was interrupted"):
        async with open_log(Settings(redis_url=valkey_url), patient=True, prefix=prefix):
            pass


@pytest.mark.parametrize("name", [ORIGINAL, f"{FOLDER}/00/{'0' * 15}1-{'0' * 20}"])
async def test_a_sparse_member_is_refused(members: Members, tmp_path: Path, name: str) -> None:
    (tmp_path / MANIFEST).write_bytes(members[MANIFEST])
    hole = tmp_path / name
    hole.parent.mkdir(parents=True, exist_ok=True)  # the export's own blobs are below it
    hole.touch()
    subprocess.run(["truncate", "--size=1G", hole], check=True)
    command = ["tar", "--format=gnu", "--sparse", "-cf", "sparse.tar", MANIFEST, name]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "sparse.tar").stat().st_size < 1 << 20

    with pytest.raises(UserError, match="that no export has"):
        Export(tmp_path / "sparse.tar")


async def test_a_segment_is_not_read_if_it_is_too_large(members: Members, tmp_path: Path) -> None:
    path = written(tmp_path / "large.tar", {MANIFEST: members[MANIFEST]})
    info = tarfile.TarInfo(f"{FOLDER}/00/{'0' * 15}1-{'0' * 20}")
    info.size = SEGMENT_BYTES_MAX + 1
    with path.open("r+b") as file:
        end = len(members[MANIFEST]) // 512 * 512 + 1024
        file.seek(end)
        file.write(info.tobuf())
        file.truncate(end + 512 + SEGMENT_BYTES_MAX + 1024)

    with pytest.raises(UserError, match="268,435,457 bytes: too many"):
        Export(path)


async def test_a_damaged_segment_says_which_member_it_is(members: Members, tmp_path: Path) -> None:
    name = segment_of(members)
    data = bytearray(members[name])
    data[len(data) // 2] ^= 1
    source = Export(written(tmp_path / "damaged.tar", {**members, name: bytes(data)}))

    with pytest.raises(Corrupt, match=f"{name} of the export: its bytes differ"):
        await check(source)

    source.close()


async def test_what_follows_an_export_in_its_file_is_noticed(
    members: Members, tmp_path: Path
) -> None:
    path = written(tmp_path / "two.tar", members)
    path.write_bytes(path.read_bytes() * 2)

    with pytest.raises(UserError, match="has more than one export"):
        Export(path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")

    with pytest.raises(UserError, match="is not a file"):
        Export(tmp_path / "pipe.tar")
