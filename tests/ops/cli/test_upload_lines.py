"""The lines that ``photolog upload`` prints for each file."""

import json
import os
import re
from pathlib import Path

from tests.ops.systems import System, jpeg


def test_photos_are_named_in_the_order_of_their_files(
    shared_system: System, tmp_path: Path
) -> None:
    paths = [str(tmp_path / f"{name}.jpg") for name in "cadb"]
    for number, path in enumerate(paths):  # the first ones take the longest
        Path(path).write_bytes(jpeg((2000 // (number + 1), 40)))

    told = shared_system.photolog("upload", "--wait", "--verbose", *paths, paths[0])

    lines = told.stdout.splitlines()
    assert [line.partition("  ")[2] for line in lines] == [*paths[:1], *paths]


def test_a_photo_that_fails_is_named_with_its_id(shared_system: System, tmp_path: Path) -> None:
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(jpeg()[:40])

    told = shared_system.photolog("upload", "--wait", str(torn))
    again = json.loads(shared_system.photolog("upload", "--json", str(torn), "--wait").stdout)

    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == f"{torn}: {again['reason']} (photo {again['photoId']})\n1 failed\n"


def test_a_photo_that_is_not_processed_in_time_has_not_failed(data: Path, tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(jpeg())

    with System(data, "--workers", "0") as system:
        told = system.photolog("upload", "--wait", "--wait-timeout", "0.5", str(photo))

    said = "it is uploaded, but no photo was processed for 0.5 s"
    assert (told.returncode, told.stdout) == (1, "")
    lines = rf".*/a\.jpg: {said} \(photo [0-9a-f-]{{36}}\)\n1 not processed yet\n"
    assert re.fullmatch(lines, told.stderr)


def test_a_name_that_is_not_utf_8_is_uploaded_as_text(
    shared_system: System, tmp_path: Path
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    odd.write_bytes(jpeg())
    (tmp_path / "z.jpg").write_bytes(jpeg())

    told = shared_system.photolog("upload", "--verbose", str(tmp_path))

    lines = told.stdout.splitlines()
    assert (told.returncode, told.stderr) == (0, "2 uploaded\n")
    assert [line.rpartition("/")[2] for line in lines] == [
        "caf\N{REPLACEMENT CHARACTER}.jpg",
        "z.jpg",
    ]


def test_a_script_gets_the_ids_alone(shared_system: System, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(21)]
    for path in paths:
        path.write_bytes(jpeg((20, 20)))

    one = shared_system.photolog("upload", str(paths[0]))
    all_of_them = shared_system.photolog("upload", str(tmp_path))
    ids = all_of_them.stdout.split()
    deleted = shared_system.photolog("delete", "--yes", *ids)

    assert one.stdout == f"{ids[0]}\n"
    assert all_of_them.stderr == "1 duplicate, 20 uploaded\n"
    assert deleted.stderr == "21 deleted\n"
