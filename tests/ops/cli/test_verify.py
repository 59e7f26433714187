"""``photolog verify`` on a log that was tampered with."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import anyio
import pytest

from ops.config.settings import Settings
from ops.runtime.wiring import open_log
from store.log.log import Log
from store.redis.connection import connect
from tests.ops.systems import run
from tests.ops.tampering import at, photo, rewritten, stored, tamper

OnLog = Callable[[Callable[[Log], Awaitable[Any]]], Any]


async def clear(url: str) -> None:
    redis = connect(url)
    await redis.flushdb()  # pyright: ignore[reportUnknownMemberType] # types of the library
    await redis.aclose()


@pytest.fixture
def whole(valkey_url: str) -> Generator[OnLog]:
    """A log under the default prefix with one photo; calling the fixture changes the log."""

    def with_log(do: Callable[[Log], Awaitable[Any]]) -> Any:
        async def act() -> Any:
            async with open_log(Settings(redis_url=valkey_url), create=True) as log:
                return await do(log)

        return anyio.run(act)

    anyio.run(clear, valkey_url)
    with_log(photo)
    yield with_log
    anyio.run(clear, valkey_url)


@pytest.fixture(autouse=True)
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The blobs of this machine."""
    monkeypatch.setenv("PHOTOLOG_DATA", str(tmp_path))
    folder = tmp_path / "blobs"
    (folder / "drafts").mkdir(parents=True)
    return folder


def test_the_command_says_that_it_found_no_archive_to_compare_with(
    whole: OnLog, valkey_url: str, blobs: Path
) -> None:
    with_archive = run("verify", PHOTOLOG_REDIS_URL=valkey_url)
    (blobs / "drafts").rmdir()

    told = run("verify", PHOTOLOG_REDIS_URL=valkey_url)

    assert (with_archive.exit_code, told.exit_code) == (0, 0)
    first, *rest = told.stdout.splitlines()
    assert first.startswith("not compared with the archive, which cannot be read: ")
    assert first.endswith(f"the disk of the blobs has nothing in {blobs}")
    assert rest == with_archive.stdout.splitlines()


async def _log_id(log: Log) -> str:
    return log.log_id


def noted(valkey_url: str) -> tuple[str, ...]:
    """The options that compare with the current log."""
    found = json.loads(run("verify", "--json", PHOTOLOG_REDIS_URL=valkey_url).stdout)
    return "--upto", found["positions"][0], "--anchor", found["anchor"]


def test_the_command_compares_a_noted_anchor(whole: OnLog, valkey_url: str) -> None:
    options = noted(valkey_url)
    whole(photo)
    same = run("verify", *options, PHOTOLOG_REDIS_URL=valkey_url)
    whole(lambda log: tamper(log, at(4, rewritten)))

    other = run("verify", *options, PHOTOLOG_REDIS_URL=valkey_url)
    alone = run("verify", *options[2:], PHOTOLOG_REDIS_URL=valkey_url)
    mistyped = run("verify", *options[:3], options[3][:-1], PHOTOLOG_REDIS_URL=valkey_url)

    assert (same.exit_code, other.exit_code, alone.exit_code) == (0, 1, 2)
    assert mistyped.exit_code == 2
    assert "64 hexadecimal digits" in mistyped.stderr
    assert same.stdout.startswith("1 photo, 5 events: all intact\nanchor ")
    assert same.stdout.splitlines()[-1].startswith("matches the anchor noted up to 20")
    assert "matches" not in other.stdout
    assert f"\nnoted  {options[3]}: the log has changed since then, unless " in other.stdout


def test_the_anchor_of_one_photo_says_so_and_is_compared_with_that_photo(
    whole: OnLog, valkey_url: str
) -> None:
    photo_id = whole(photo)
    of_one = run("verify", photo_id, PHOTOLOG_REDIS_URL=valkey_url)
    found = re.search("^anchor (.+)  of this photo alone, up to (.+)$", of_one.stdout, re.MULTILINE)
    assert found is not None, of_one.stdout
    options = ("--anchor", found[1], "--upto", found[2])

    again = run("verify", photo_id, *options, PHOTOLOG_REDIS_URL=valkey_url)
    of_all = run("verify", *options, PHOTOLOG_REDIS_URL=valkey_url)
    reverse = run("verify", photo_id, *noted(valkey_url), PHOTOLOG_REDIS_URL=valkey_url)

    assert (again.exit_code, of_all.exit_code, reverse.exit_code) == (0, 1, 1)
    assert "matches the anchor" in again.stdout
    assert "unless this is the anchor of one photo alone: name that photo too\n" in of_all.stdout
    assert "unless this is the anchor of the whole log: name no photo then\n" in reverse.stdout


def test_the_command_has_no_anchor_for_a_position_that_is_lost(
    whole: OnLog, valkey_url: str
) -> None:
    options = noted(valkey_url)
    whole(lambda log: log.redis.xdel(log.keys.log(0), options[1].removeprefix("0:")))

    told = run("verify", *options[:2], PHOTOLOG_REDIS_URL=valkey_url)

    first, second = told.stdout.splitlines()
    assert told.exit_code == 1
    assert first.startswith(f"lost    {options[1]}: there is no event, ")
    assert second == "1 photo, 4 events: events are missing"


def test_the_command_names_a_foreign_entry_by_its_position(whole: OnLog, valkey_url: str) -> None:
    entry = whole(lambda log: log.redis.xadd(log.keys.log(0), {"what": "ever"}))

    told = run("verify", PHOTOLOG_REDIS_URL=valkey_url)

    first, second, _ = told.stdout.splitlines()
    assert first == f"broken  entry at 0:{entry.decode()}: it is not an event"
    assert second == "1 photo, 5 events: 1 entry of no photo"


def test_the_archive_is_evidence_of_events_that_were_removed(
    whole: OnLog, valkey_url: str, tmp_path: Path
) -> None:
    options = "--data", str(tmp_path)
    (tmp_path / "blobs" / "log").mkdir(parents=True)
    (tmp_path / "blobs" / "log" / "id").write_text(whole(_log_id))
    assert run("log", "archive", *options, PHOTOLOG_REDIS_URL=valkey_url).exit_code == 0
    intact = run("verify", *options, PHOTOLOG_REDIS_URL=valkey_url)
    checked = run("log", "info", "--check", *options, PHOTOLOG_REDIS_URL=valkey_url)
    entry_id, fields = whole(stored)[-1]
    whole(lambda log: log.redis.xdel(log.keys.log(0), entry_id))  # every chain still holds

    told = run("verify", *options, PHOTOLOG_REDIS_URL=valkey_url)
    as_json = run("verify", "--json", *options, PHOTOLOG_REDIS_URL=valkey_url)
    info = run("log", "info", "--check", *options, PHOTOLOG_REDIS_URL=valkey_url)

    assert (intact.exit_code, checked.exit_code) == (0, 0)
    assert "evidence" not in intact.stdout
    assert (told.exit_code, as_json.exit_code, info.exit_code) == (1, 1, 1)
    first, second, _ = told.stdout.splitlines()
    of = f"photo.deleted of photo {fields[b'p'].decode()}"
    assert first.startswith(f"differs 0:{entry_id}, {of}: it was removed from the stream, as")
    assert "(log/segments/00/" in first
    assert second == "1 photo, 4 events: 1 event differs from the archive"
    [event] = json.loads(as_json.stdout)["evidence"]["tampered"]
    assert (event["position"], event["type"]) == (f"0:{entry_id}", "photo.deleted")
    assert f"damaged: the event at 0:{entry_id} differs from segment log/segments/00" in info.stdout


def test_a_damaged_segment_is_no_evidence_and_is_named(
    whole: OnLog, valkey_url: str, tmp_path: Path
) -> None:
    options = "--data", str(tmp_path)
    (tmp_path / "blobs" / "log").mkdir(parents=True)
    (tmp_path / "blobs" / "log" / "id").write_text(whole(_log_id))
    assert run("log", "archive", *options, PHOTOLOG_REDIS_URL=valkey_url).exit_code == 0
    [segment] = (tmp_path / "blobs" / "log" / "segments" / "00").iterdir()
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)

    told = run("verify", *options, PHOTOLOG_REDIS_URL=valkey_url)

    assert told.exit_code == 1
    assert f"damaged segment log/segments/00/{segment.name}" in told.stdout
    assert "1 photo, 5 events: the archive is damaged" in told.stdout


def test_the_digest_of_a_photo_is_that_of_its_last_event(whole: OnLog, valkey_url: str) -> None:
    _, fields = whole(stored)[-1]
    digest = hashlib.sha256(fields[b"b"]).hexdigest()

    told = run("verify", fields[b"p"].decode(), PHOTOLOG_REDIS_URL=valkey_url)

    assert told.stdout.splitlines()[-1] == f"digest {digest}  of the photo's last event"


@pytest.fixture
def tampered(valkey_url: str) -> Generator[str]:
    """The id of the photo of a log under the default prefix; one of its events was rewritten."""

    async def arrange() -> str:
        async with open_log(Settings(redis_url=valkey_url), create=True) as log:
            photo_id = await photo(log)
            await tamper(log, at(1, rewritten))
            return photo_id

    anyio.run(clear, valkey_url)
    yield anyio.run(arrange)
    anyio.run(clear, valkey_url)


def test_the_command_names_each_break_with_status_1(tampered: str, valkey_url: str) -> None:
    told = run("verify", PHOTOLOG_REDIS_URL=valkey_url)
    as_json = run("verify", "--json", PHOTOLOG_REDIS_URL=valkey_url)

    first, second, third = told.stdout.splitlines()
    assert (told.exit_code, as_json.exit_code) == (1, 1)
    assert first.startswith(f"broken  {tampered}  version 3 at 0:")
    assert second == "1 photo, 5 events: 1 broken"
    report = json.loads(as_json.stdout)
    assert third == f"anchor {report['anchor']}  up to {report['positions'][0]}"
    assert report["breaks"][0]["chain"] == tampered


def test_a_system_without_photos_has_no_originals_yet(
    whole: OnLog, valkey_url: str, tmp_path: Path
) -> None:
    anyio.run(clear, valkey_url)
    whole(_log_id)  # creates the log
    of_system = ("--data", str(tmp_path))

    told = run("verify", "--originals", *of_system, PHOTOLOG_REDIS_URL=valkey_url)
    hashed = run("reconcile", "--hash", *of_system, PHOTOLOG_REDIS_URL=valkey_url)
    elsewhere = run(
        *("verify", "--originals", "--data", str(tmp_path / "none")), PHOTOLOG_REDIS_URL=valkey_url
    )

    assert (told.exit_code, hashed.exit_code) == (0, 0), told.output + hashed.output
    assert told.stdout.startswith("0 photos, 0 events: all intact")
    assert told.stdout.endswith("0 originals: there is no photo yet, or all are deleted\n")
    assert elsewhere.exit_code == 1
    assert "does not exist" in elsewhere.stderr
