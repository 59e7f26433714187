"""``photolog log``: info, archive, export, import."""

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from store.archive.archive import FOLDER
from tests.ops.systems import System, jpeg, wait_until

KEPT_S = 0.001

SETTINGS = {"decoders": "1", "archive_keep_s": str(KEPT_S), "archive_segment_entries": "4"}


def run(system: System, *words: str) -> "subprocess.CompletedProcess[str]":
    done = system.photolog("log", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def info(system: System) -> dict[str, Any]:
    """Return what ``log info`` says of the only partition."""
    found = json.loads(run(system, "info", "--json", "--check").stdout)
    assert found["damaged"] == []
    return found["partitions"][0]


def uploaded(system: System, *photos: Path) -> list[str]:
    for photo in photos:
        photo.write_bytes(jpeg())
    done = system.photolog("upload", "--wait", "--json", *map(str, photos))
    return [json.loads(line)["photoId"] for line in done.stdout.splitlines()]


def is_read(system: System, photo_id: str) -> bool:
    """Return whether the read model has the photo."""
    return system.photolog("history", photo_id).returncode == 0


def test_a_system_goes_on_in_another_place_with_all_its_history(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(f"PHOTOLOG_{name.upper()}", value)
    folder = data.parent
    export, elsewhere = folder / "export.tar", folder / "elsewhere" / "data"
    with System(data) as system:
        ids = uploaded(system, folder / "a.jpg", folder / "b.jpg")
        before = info(system)
        assert before["liveEvents"] == before["unsealed"] + before["sealedEvents"]

        run(system, "archive")
        wait_until(lambda: info(system)["trimmedUpto"], "events leave Redis")

        after = info(system)
        assert (after["oldest"], after["newest"]) == (before["oldest"], before["newest"])
        assert after["liveEvents"] < before["liveEvents"]
        assert after["unsealed"] == 0
        assert {each["reader"] for each in after["readers"]} == {"dispatchers", "read model"}
        verified = system.photolog("verify", "--json")
        histories = {each: system.photolog("history", "--json", each).stdout for each in ids}
        run(system, "export", "--blobs", str(export))
        assert "read model" in run(system, "info").stdout
        for file in (data / "blobs" / FOLDER).rglob("*-*"):
            os.utime(file, (0, 0))
        reconciled = system.photolog("reconcile", "--older-than", "1s")
        assert reconciled.returncode == 0, reconciled.stderr
        assert "segments" not in reconciled.stdout
        rebuilt = system.photolog("projections", "rebuild")
        assert rebuilt.returncode == 0, rebuilt.stderr

    assert system.photolog("log", "export", str(export)).returncode != 0  # there is one
    assert (data / "blobs" / FOLDER).is_dir()
    with tarfile.open(export) as tar:
        assert any(name.startswith("blobs/originals/") for name in tar.getnames())

    new = System(elsewhere)
    elsewhere.parent.mkdir()
    run(new, "import", str(export))
    with new:
        assert json.loads(new.photolog("verify", "--json").stdout) == json.loads(verified.stdout)
        for each, history in histories.items():
            wait_until(
                lambda each=each: new.photolog("history", each).returncode == 0, "it is read"
            )
            assert new.photolog("history", "--json", each).stdout == history
        assert new.photolog("verify", "--originals").returncode == 0
        uploaded(new, folder / "c.jpg")


def test_a_check_without_segments_says_that_there_are_none(system: System) -> None:
    checked = run(system, "info", "--check").stdout

    assert "there are no segments to check yet" in checked
    assert "are whole" not in checked


def test_a_damaged_segment_is_named(shared_system: System) -> None:
    uploaded(shared_system, shared_system.data.parent / "segment.jpg")
    run(shared_system, "archive")
    segment = max((shared_system.data / "blobs" / FOLDER / "00").iterdir())
    whole = segment.read_bytes()
    segment.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])

    try:
        found = shared_system.photolog("log", "info", "--check")
    finally:
        segment.write_bytes(whole)

    assert found.returncode == 1
    assert f"segment {FOLDER}/00/{segment.name}" in found.stdout
    assert "its bytes differ from its SHA-256" in found.stdout
