"""``photolog import``: each file once, whatever happens to the folder."""

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ops.systems import DEADLINE_S, PHOTOLOG, System, jpeg, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder to import."""
    folder = tmp_path / "card"
    folder.mkdir()
    return folder


class Import:
    """Imports of one folder, with a ledger of their own."""

    def __init__(self, system: System, folder: Path, ledger: Path) -> None:
        self._system = system
        self._ledger = ledger
        self._folder = folder
        self.words = [
            *("import", "--data", str(system.data), "--json", "--settle", "0.2", "--every", "0.2"),
            *("--ledger", str(ledger), str(folder)),
        ]

    def once(self) -> tuple[int, list[dict[str, Any]]]:
        """Run to the end; return the exit status and a line for each file that was sent."""
        done = self._system.photolog(self.words[0], *self.words[3:])
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    @contextmanager
    def watching(self, output: Path) -> Generator["subprocess.Popen[str]"]:
        """Run with ``--watch`` until the block ends; Ctrl-C must end it."""
        with output.open("w") as out:
            process = subprocess.Popen(
                [*PHOTOLOG, *self.words, "--watch"],
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        try:
            yield process
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 130
            assert "Traceback" not in output.read_text()
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def importing(shared_system: System, folder: Path, tmp_path: Path) -> Import:
    return Import(shared_system, folder, tmp_path / "state" / "ledger.sqlite")


def sent(output: Path) -> list[str]:
    """Return the names of the files that were uploaded, in order."""
    lines = [line for line in output.read_text().splitlines() if line.startswith("{")]
    return [Path(json.loads(line)["path"]).name for line in lines if '"photoId"' in line]


def statuses(lines: list[dict[str, Any]]) -> dict[str, str]:
    """Return the outcome of each file by its name."""
    return {Path(line["path"]).name: line["status"] for line in lines}


def test_a_second_run_sends_nothing_twice(
    importing: Import, folder: Path, shared_system: System
) -> None:
    (folder / "a.jpg").write_bytes(jpeg())
    status, [first] = importing.once()
    assert (status, first["duplicate"]) == (0, False)

    status, [again] = importing.once()

    assert (status, again["status"]) == (0, "already imported")
    assert again["photoId"] == first["photoId"]

    shared_system.photolog("delete", "--yes", first["photoId"])
    status, [deleted] = importing.once()
    assert (status, deleted["status"]) == (0, "deleted")  # it does not come back

    (folder / "a.jpg").write_bytes(jpeg())  # another photo under the same name
    _, [other] = importing.once()
    assert other["photoId"] != first["photoId"]


def test_a_photo_that_the_server_does_not_have_is_sent_whatever_the_ledger_says(
    importing: Import, folder: Path, tmp_path: Path, data: Path
) -> None:
    (folder / "a.jpg").write_bytes(jpeg())
    ledger = tmp_path / "state" / "ledger.sqlite"
    importing.once()

    with System(data) as empty, closing(sqlite3.connect(ledger)) as known:
        with known:  # as if it were the same server, whose data folder was deleted
            known.execute("UPDATE photos SET server = ?", (empty.url,))
        status, lines = Import(empty, folder, ledger).once()
        again = Import(empty, folder, ledger).once()

    assert (status, statuses(lines)) == (0, {"a.jpg": "queued"})
    assert statuses(again[1]) == {"a.jpg": "already imported"}


def test_refused_files_are_refused_in_each_run_and_end_it_with_status_1(
    importing: Import, folder: Path, shared_system: System
) -> None:
    (folder / "a.jpg").write_bytes(jpeg())
    for name in ("b.jpg", "c.jpg"):
        (folder / name).write_text("no photo")
    (folder / "notes.py").write_text("no photo, and not named like one")
    refused = dict.fromkeys(("b.jpg", "c.jpg"), "refused")

    first = importing.once()
    second = importing.once()
    shown = shared_system.photolog(
        "import", *(word for word in importing.words[3:] if word != "--json")
    )

    assert (first[0], second[0], shown.returncode) == (1, 1, 1)
    assert statuses(first[1]) == {"a.jpg": "queued", "notes.py": "skipped", **refused}
    assert statuses(second[1]) == {"a.jpg": "already imported", "notes.py": "skipped", **refused}
    *_, note, reason, repeated, counted = shown.stderr.splitlines()
    assert note == "skipped, because they are not photos: 1 .py"
    assert "is in none of the supported formats" in reason
    assert "is in none of the supported formats" in repeated
    assert repeated.endswith(" (unsupported-type)")
    assert counted == "1 already imported, 2 refused, 1 skipped"


def test_a_folder_is_the_same_by_whatever_path_it_is_named(
    shared_system: System, folder: Path, tmp_path: Path
) -> None:
    (folder / "a.jpg").write_bytes(jpeg())
    (tmp_path / "other").mkdir()
    ledger = tmp_path / "ledger"

    first, again = (
        Import(shared_system, path, ledger).once()[1]
        for path in (folder, tmp_path / "other" / ".." / "card")
    )

    assert again[0]["status"] == "already imported"
    assert [line["path"] for line in (*first, *again)] == [str(folder / "a.jpg")] * 2


def test_photologs_own_data_is_not_imported(
    importing: Import, folder: Path, tmp_path: Path
) -> None:
    (folder / "a.jpg").write_bytes(jpeg())
    for name in ("lock", "secret", "valkey/x", "blobs/originals/b.jpg"):
        (folder / "store" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "store" / name).write_bytes(jpeg())
    output = tmp_path / "output"

    with importing.watching(output):
        wait_until(lambda: sent(output) == ["a.jpg"], "the photo")

    assert statuses(importing.once()[1]) == {"a.jpg": "already imported"}


def test_new_files_are_imported_as_they_come(
    importing: Import, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    (folder / "a.jpg").write_bytes(jpeg())
    with importing.watching(output):
        wait_until(lambda: sent(output) == ["a.jpg"], "the first file")
        (folder / "inner").mkdir()
        (folder / "inner" / "b.jpg").write_bytes(jpeg())
        wait_until(lambda: sent(output) == ["a.jpg", "b.jpg"], "the second file")

    status, lines = importing.once()
    assert (status, set(statuses(lines).values())) == (0, {"already imported"})


def test_a_file_that_still_grows_waits(importing: Import, folder: Path, tmp_path: Path) -> None:
    output, data = tmp_path / "output", jpeg((1200, 900))
    with (folder / "a.jpg").open("wb", buffering=0) as growing, importing.watching(output):
        wait_until(lambda: "Watching" in output.read_text(), "the start")
        for at in range(len(data)):
            growing.write(data[at : at + 1])
            if at % 500 == 0:
                os.utime(folder / "a.jpg")
                assert sent(output) == []
        wait_until(lambda: sent(output) == ["a.jpg"], "the file")

    status, lines = importing.once()
    assert (status, statuses(lines)) == (0, {"a.jpg": "already imported"})


def test_a_folder_that_vanishes_is_waited_for(
    importing: Import, folder: Path, tmp_path: Path, shared_system: System
) -> None:
    output = tmp_path / "output"
    (folder / "a.jpg").write_bytes(jpeg())
    with importing.watching(output):
        wait_until(lambda: sent(output) == ["a.jpg"], "the first file")
        folder.rename(tmp_path / "elsewhere")
        wait_until(lambda: "is not there" in output.read_text(), "the notice")
        (tmp_path / "elsewhere" / "b.jpg").write_bytes(jpeg())
        (tmp_path / "elsewhere").rename(folder)
        wait_until(lambda: sent(output) == ["a.jpg", "b.jpg"], "the second file")

    lines = [json.loads(each) for each in output.read_text().splitlines() if each[0] == "{"]
    for line in lines:
        shown = shared_system.photolog("history", line["photoId"])
        assert "photo.deleted" not in shown.stdout


def test_a_ledger_that_cannot_be_used_is_named(
    shared_system: System, folder: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    ledger.write_text("no database, but long enough to be looked at as one" * 9)

    done = shared_system.photolog("import", "--ledger", str(ledger), str(folder))

    assert done.returncode == 1
    assert f"{ledger} cannot be used" in done.stderr
    assert "--ledger" in done.stderr
