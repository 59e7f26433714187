"""Unfinished uploads on the disk: what counts after a crash, and what is removed."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from store.blobs.partial_state import Partial, Recorded, new_id
from store.blobs.partials import Locked, Partials
from store.errors import Full, Missing


def state(**fields: object) -> Partial:
    now = time.time()
    default = {"upload_id": new_id(), "client_id": "alice", "created_s": now, "expires_s": now + 60}
    return msgspec.convert({**default, **fields}, Partial)


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


@pytest.fixture
def partials(tmp_path: Path) -> Partials:
    return Partials(tmp_path)


async def test_only_bytes_that_were_kept_count_after_a_crash(partials: Partials) -> None:
    new = state()
    file = await partials.create(new)
    await file.write(b"kept")
    await file.keep()
    await file.write(bytes(3 << 20))  # some of it reaches the disk
    file.close()  # as a crash would

    again = await partials.open("alice", new.upload_id)

    assert again.state.offset == 4
    assert [chunk async for chunk in again.read()] == [b"kept"]
    await again.write(b" more")
    await again.keep()
    assert b"".join([chunk async for chunk in again.read()]) == b"kept more"
    again.close()


async def test_bytes_that_are_undone_never_count(partials: Partials) -> None:
    file = await partials.create(state())
    await file.write(b"kept")
    await file.keep()
    await file.write(bytes(2 << 20))

    await file.undo()

    assert (file.end, (await file.keep()).offset) == (4, 4)
    file.close()


async def test_an_upload_is_used_by_one_at_a_time(partials: Partials) -> None:
    new = state()
    file = await partials.create(new)

    with pytest.raises(Locked):
        await partials.open("alice", new.upload_id)

    file.close()
    again = await partials.open("alice", new.upload_id)
    again.close()
    assert again.state == new


@pytest.mark.parametrize(
    "upload_id", ["", "x", "../../x", "0" * 32, "/etc/passwd", "0" * 32 + "\n"]
)
async def test_what_is_no_id_of_an_upload_is_missing(partials: Partials, upload_id: str) -> None:
    with pytest.raises(Missing):
        await partials.open("alice", upload_id)
    with pytest.raises(Missing):
        await partials.ended("alice", upload_id)


async def test_an_upload_of_another_client_is_missing(partials: Partials) -> None:
    new = state()
    (await partials.create(new)).close()

    with pytest.raises(Missing):
        await partials.open("bob", new.upload_id)
    assert await partials.open_of("bob") == []
    assert await partials.held_bytes("bob") == 0


async def test_uploads_hold_what_they_announced_or_have(partials: Partials) -> None:
    (await partials.create(state(length=100))).close()
    file = await partials.create(state())
    await file.write(b"seven b")
    await file.keep()
    file.close()

    assert await partials.held_bytes("alice") == 107
    assert await partials.totals() == (2, 7)


async def test_an_upload_that_ended_says_how_and_has_no_bytes(
    partials: Partials, tmp_path: Path
) -> None:
    new = state()
    file = await partials.create(new)
    photo = Recorded(photo_id="p", job_id="j", duplicate=False, position="0:1-0")

    await file.end_as("finished", photo)
    file.close()

    ended = await partials.ended("alice", new.upload_id)
    assert (ended.ending, ended.recorded) == ("finished", photo)
    assert files(tmp_path) == [f"{new.upload_id}.json"]


async def test_a_crash_while_an_upload_ends_leaves_it_ended(
    partials: Partials, tmp_path: Path
) -> None:
    new = state()
    file = await partials.create(new)
    [path] = tmp_path.rglob("*.json")
    before = path.read_bytes()
    await file.end_as("finished")
    file.close()
    path.write_bytes(before)  # the end is recorded before this is removed
    path.with_suffix(".bytes").touch()

    with pytest.raises(Missing):
        await partials.open("alice", new.upload_id)

    assert (await partials.ended("alice", new.upload_id)).ending == "finished"
    assert files(tmp_path) == [f"{new.upload_id}.json"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]"])
async def test_an_upload_whose_state_is_damaged_is_missing(
    partials: Partials, tmp_path: Path, damage: bytes
) -> None:
    new = state()
    (await partials.create(new)).close()
    [path] = tmp_path.rglob("*.json")
    path.write_bytes(damage)

    with pytest.raises(Missing):
        await partials.open("alice", new.upload_id)
    assert await partials.open_of("alice") == []


async def test_an_upload_that_lost_bytes_is_missing(partials: Partials, tmp_path: Path) -> None:
    new = state()
    file = await partials.create(new)
    await file.write(b"bytes")
    await file.keep()
    file.close()
    [path] = tmp_path.rglob("*.bytes")
    os.truncate(path, 2)

    with pytest.raises(Missing):
        await partials.open("alice", new.upload_id)


async def test_a_sweep_ends_what_has_expired_and_is_not_in_use(
    partials: Partials, tmp_path: Path
) -> None:
    fresh, expired, used = state(), state(expires_s=1.0), state(expires_s=1.0)
    (await partials.create(fresh)).close()
    (await partials.create(expired)).close()
    file = await partials.create(used)

    swept = await partials.sweep()
    file.close()

    assert swept == 1
    assert (await partials.ended("alice", expired.upload_id)).ending == "expired"
    assert {each.upload_id for each in await partials.open_of("alice")} == {
        fresh.upload_id,
        used.upload_id,
    }


async def test_a_sweep_forgets_what_ended_long_ago_and_what_a_crash_left(
    partials: Partials, tmp_path: Path
) -> None:
    file = await partials.create(state())
    await file.end_as("deleted")
    file.close()
    (await partials.create(state())).close()
    [path] = (tmp_path / "open").rglob("*.json")
    path.unlink()
    for each in tmp_path.rglob("*.*"):
        os.utime(each, (1.0, 1.0))

    await partials.sweep()

    assert [*tmp_path.rglob("*.*")] == []
    assert [*(tmp_path / "open").iterdir()] == []


async def test_the_reserve_of_the_disk_stays_free(tmp_path: Path) -> None:
    partials = Partials(tmp_path, reserve_bytes=1 << 62)

    with pytest.raises(Full):
        await partials.create(state(length=1))

    assert files(tmp_path) == []
