"""``photolog download`` and ``photolog delete`` on a running system."""

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ops.systems import System, jpeg


@pytest.fixture
def session(tmp_path: Path) -> str:
    """The name of a session that no other test uses."""
    return hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]


def uploaded(system: System, folder: Path, session: str, **files: bytes) -> dict[str, str]:
    """Upload the files, and wait until they are processed; return the photo ids by their stems."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.jpg").write_bytes(data)
    done = system.photolog("upload", "--json", "--wait", "--session", session, str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(line["path"]).stem: line["photoId"] for line in lines}


def download(system: System, folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = system.photolog("download", "--json", "--to", str(folder), *arguments)
    return [json.loads(line) for line in done.stdout.splitlines()]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_photos_of_a_session_arrive_as_they_were_uploaded(
    shared_system: System, tmp_path: Path, session: str
) -> None:
    files = {"one": jpeg(), "two": jpeg()}
    uploaded(shared_system, tmp_path / "in", session, **files)
    folder = tmp_path / "out"

    first = download(shared_system, folder, "--session", session)
    second = download(shared_system, folder, "--session", session)

    assert [each["already"] for each in first] == [False, False]
    assert [each["already"] for each in second] == [True, True]
    assert names(folder) == {"one.jpg", "two.jpg"}
    assert {name: (folder / f"{name}.jpg").read_bytes() for name in files} == files


def test_other_content_is_never_replaced(
    shared_system: System, tmp_path: Path, session: str
) -> None:
    data = jpeg()
    [photo_id] = uploaded(shared_system, tmp_path / "in", session, a=data).values()
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.jpg").write_text("mine")

    [first] = download(shared_system, folder, photo_id)
    [second] = download(shared_system, folder, photo_id)
    marked = folder / f"a-{photo_id}.jpg"
    marked.write_text("mine, too")
    [third] = download(shared_system, folder, photo_id)

    assert (first["path"], first["already"]) == (str(marked), False)
    assert (second["path"], second["already"]) == (str(marked), True)
    assert (third["status"], third["code"]) == ("failed", "name-taken")
    assert (folder / "a.jpg").read_text() == "mine"
    assert marked.read_text() == "mine, too"


@pytest.mark.parametrize("part", ["the beginning", "all", "other bytes", "too much"])
def test_a_part_is_continued_and_verified(
    shared_system: System, tmp_path: Path, session: str, part: str
) -> None:
    data = jpeg()
    [photo_id] = uploaded(shared_system, tmp_path / "in", session, a=data).values()
    folder = tmp_path / "out"
    folder.mkdir()
    kept = {
        "the beginning": data[:1000],
        "all": data,
        "other bytes": bytes(1000),
        "too much": data + data,
    }[part]
    (folder / f".photolog-{photo_id}-original.part").write_bytes(kept)

    [outcome] = download(shared_system, folder, photo_id)

    assert outcome["status"] == "downloaded"
    assert (folder / "a.jpg").read_bytes() == data
    assert names(folder) == {"a.jpg"}


@pytest.mark.parametrize("which", ["300", "optimized"])
def test_a_rendition_has_a_name_of_its_own(
    shared_system: System, tmp_path: Path, session: str, which: str
) -> None:
    [photo_id] = uploaded(shared_system, tmp_path / "in", session, a=jpeg()).values()

    [outcome] = download(shared_system, tmp_path / "out", photo_id, "--rendition", which)

    path = tmp_path / "out" / f"a-{which}.webp"
    address = which if which == "optimized" else f"thumbnails/{which}"
    served = httpx.get(
        f"{shared_system.url}/api/photos/{photo_id}/{address}",
        headers=shared_system.login(),
        trust_env=False,
    )
    assert (outcome["path"], path.read_bytes()) == (str(path), served.content)


def test_a_missing_photo_fails_and_the_others_arrive(
    shared_system: System, tmp_path: Path, session: str
) -> None:
    [photo_id] = uploaded(shared_system, tmp_path / "in", session, a=jpeg()).values()

    done = shared_system.photolog(
        "download", "--to", str(tmp_path / "out"), "no-such-photo", photo_id
    )

    assert done.returncode == 1
    assert "no-such-photo: " in done.stderr
    assert done.stderr.endswith("1 downloaded, 1 failed\n")


@pytest.mark.parametrize("command", ["download", "delete"])
@pytest.mark.parametrize("choice", [(), ("an-id", "--all")])
def test_a_command_wants_ids_or_a_filter(
    shared_system: System, command: str, choice: tuple[str, ...]
) -> None:
    done = shared_system.photolog(command, *choice)

    assert done.returncode == 1
    assert "name photos by their ids, or choose them by" in done.stderr.lower()


def test_deleting_asks_first_and_tells_the_result_of_each_photo(
    shared_system: System, tmp_path: Path, session: str
) -> None:
    ids = uploaded(shared_system, tmp_path / "in", session, a=jpeg(), b=jpeg())

    unasked = shared_system.photolog("delete", "--session", session)
    done = shared_system.photolog("delete", "--yes", "--json", ids["a"], "no-such-photo")
    rest = shared_system.photolog("delete", "--yes", "--session", session, "--status", "completed")

    assert (unasked.returncode, unasked.stdout) == (1, "")
    assert "Delete 2 photos, with all their files?" in unasked.stderr
    assert done.returncode == 1
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["photoId"], each["outcome"], each["code"]) for each in results] == [
        ("no-such-photo", "failed", "photo-not-found"),
        (ids["a"], "deleted", None),
    ]
    assert f"{ids['b']}  deleted" in rest.stdout


def test_deleting_a_photo_that_does_not_exist_asks_nothing(shared_system: System) -> None:
    done = shared_system.photolog("delete", "no-such-photo")

    assert done.returncode == 1
    assert "Delete" not in done.stderr
    assert "There is no photo no-such-photo" in done.stderr
