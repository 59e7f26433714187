"""Which files of a folder are photos to upload."""

import os
from pathlib import Path

import pytest

from ops.client.finding import find_files

JPEG = b"\xff\xd8\xff\xe0 and more"


def put(folder: Path, *names: str, content: bytes = JPEG) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def named(folder: Path, *paths: Path) -> list[str]:
    """Return what is found in the paths, below ``folder``."""
    return [path.relative_to(folder).as_posix() for path, _ in find_files(paths).files]


def test_folders_are_searched_and_hidden_files_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "b.jpg", "deep/er/c.jpg", ".hidden.jpg", ".git/d.jpg", content=b"12345")

    found = find_files([tmp_path])

    assert named(tmp_path, tmp_path) == ["b.jpg", "deep/er/c.jpg"]
    assert (found.hidden, found.size, found.failed) == (2, 10, [])


def test_a_file_that_is_named_is_uploaded_whatever_it_is(tmp_path: Path) -> None:
    put(tmp_path, ".a.jpg", "notes.txt", content=b"1")

    assert named(tmp_path, tmp_path / ".a.jpg", tmp_path / "notes.txt") == [".a.jpg", "notes.txt"]


def test_a_path_that_is_not_a_file_fails_with_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    found = find_files([tmp_path, tmp_path / "none"])

    assert [(each.path, each.reason) for each in found.failed] == [
        (str(tmp_path / "pipe"), "is not a file"),
        (str(tmp_path / "none"), "does not exist"),
    ]


def test_of_a_folder_only_what_begins_or_is_named_like_a_photo_is_taken(tmp_path: Path) -> None:
    put(tmp_path, "no-suffix", "renamed.txt")
    put(tmp_path, "torn.JPG", "a.py", "b.py", "README", content=b"no photo")

    found = find_files([tmp_path])

    assert named(tmp_path, tmp_path) == ["no-suffix", "renamed.txt", "torn.JPG"]
    assert found.notes() == ["skipped, because they are not photos: 2 .py, 1 without a suffix"]


@pytest.mark.parametrize(
    "content",
    [
        ("lock", "secret", "valkey/x", "blobs/x", "read-model/x"),
        ("lock", "secret", "read-model/x"),  # with the log and the photos on other servers
        ("secret", "valkey/x", "blobs/x"),  # a backup
    ],
)
def test_a_data_folder_is_skipped_wherever_it_lies_and_named_once(
    tmp_path: Path, content: tuple[str, ...]
) -> None:
    data = tmp_path / "deep" / "any-name"
    put(data, *content, "blobs/originals/ab/photo.jpg", "blobs/renditions/x.webp")
    put(tmp_path, "mine.jpg", "deep/yours.jpg")

    assert named(tmp_path, tmp_path) == ["mine.jpg", "deep/yours.jpg"]
    for folder in (tmp_path, data, data / "blobs", data / "blobs" / "originals" / "ab"):
        found = find_files([folder])
        assert [note.partition(": ")[2] for note in found.notes()] == [
            "skipped, it is a data folder of Photolog"
        ]


def test_folders_that_only_have_a_name_of_photolog_are_imported(tmp_path: Path) -> None:
    put(tmp_path, "uploads/a.jpg", "blobs/b.jpg", "secret")

    assert named(tmp_path, tmp_path) == ["secret", "blobs/b.jpg", "uploads/a.jpg"]
    assert named(tmp_path, tmp_path / "uploads") == ["uploads/a.jpg"]
