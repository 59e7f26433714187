"""``photolog photos`` on a running system."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from ops.client import photo_list, text_table
from tests.ops.systems import System, jpeg, run

ALICE, BOB = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("alice", "bob"))
"""Clients of these tests alone."""


@pytest.fixture(scope="module")
def ids(shared_system: System, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Upload photos of alice, and one of bob that fails; return the ids of alice's in order."""
    folder = tmp_path_factory.mktemp("photos")
    found: list[str] = []
    for number in range(3):
        path = folder / f"{number}.jpg"
        path.write_bytes(jpeg())
        found.append(upload(shared_system, ALICE, path))
    torn = folder / "torn.jpg"
    torn.write_bytes(jpeg()[:40])
    upload(shared_system, BOB, torn)
    return found


def upload(system: System, client: str, path: Path) -> str:
    done = system.photolog("upload", "--client", client, "--wait", "--json", str(path))
    return json.loads(done.stdout)["photoId"]


def listed(system: System, *options: str) -> list[dict[str, Any]]:
    told = run("photos", "--data", str(system.data), "--json", *options)
    assert told.exit_code == 0, told.output
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_all_pages_of_a_clients_photos_are_listed_newest_first(
    shared_system: System, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_list, "PAGE", 2)

    found = listed(shared_system, "--client", ALICE)
    told = run("photos", "--data", str(shared_system.data), "--client", ALICE)

    assert [each["photoId"] for each in found] == ids[::-1]
    headings, *lines = told.stdout.splitlines()
    assert headings.split() == ["Photo", "Status", "Uploaded", "(UTC)", "Client", "Name"]
    assert [line.split()[0] for line in lines] == ids[::-1]
    assert lines[0].split()[1] == "completed"
    assert lines[0].split()[4:] == [ALICE, "2.jpg"]
    assert {line.index(ALICE) for line in lines} == {headings.index("Client")}


def test_operators_and_auditors_see_the_photos_of_all_clients(
    shared_system: System, ids: list[str]
) -> None:
    for role in ("operator", "auditor"):
        everything = listed(shared_system, "--role", role)
        of_alice = listed(shared_system, "--role", role, "--owner", ALICE)

        assert {each["photoId"] for each in everything if each["clientId"] == ALICE} == set(ids)
        assert BOB in {each["clientId"] for each in everything}
        assert [each["photoId"] for each in of_alice] == ids[::-1]


def test_photos_are_listed_by_their_status(shared_system: System, ids: list[str]) -> None:
    failed = listed(shared_system, "--role", "auditor", "--status", "failed")
    of_alice = ("--client", ALICE, "--status", "failed")
    none = run("photos", "--data", str(shared_system.data), *of_alice)

    assert {each["processingStatus"] for each in failed} == {"failed"}
    assert [each["originalFilename"] for each in failed if each["clientId"] == BOB] == ["torn.jpg"]
    assert none.stdout == "There are no such photos.\n"


def test_a_limit_ends_the_list(
    shared_system: System, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_list, "PAGE", 1)

    found = listed(shared_system, "--client", ALICE, "--limit", "2")

    assert [each["photoId"] for each in found] == ids[:0:-1]


@pytest.mark.parametrize(
    "command",
    [("photos",), ("history",), ("jobs", "--owner", ALICE), ("health",), ("audit",), ("queues",)],
)
def test_on_80_columns_no_line_is_longer_and_ids_stay_whole(
    shared_system: System,
    ids: list[str],
    command: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text_table, "columns", lambda: 80)
    monkeypatch.setattr("ops.cli.photos.columns", lambda: 80)
    named = (ids[0],) if command == ("history",) else ()
    whose = ("--client", ALICE) if command[0] in ("photos", "history") else ()

    told = run(*command, *named, "--data", str(shared_system.data), *whose)

    assert told.exit_code == 0, told.output
    assert max(map(len, told.stdout.splitlines())) <= 80, told.stdout
    words = set(told.stdout.split())
    if command[0] in ("photos", "jobs"):
        assert set(ids) <= words
    if command[0] == "jobs":
        assert sum(bool(re.fullmatch(r"[0-9a-f-]{36}", word)) for word in words) == 2 * len(ids)
