"""A file that a command writes is there once it is whole, and never in place of another."""

import os
from pathlib import Path

import pytest

from ops.cli.new_file import new_file
from ops.errors import UserError


def test_a_new_file_is_there_after_the_block(tmp_path: Path) -> None:
    file = tmp_path / "export.tar"

    with new_file(file) as target:
        target.write(b"whole")
        assert not file.exists()

    assert file.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_has_left_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "export.tar"
    (tmp_path / "export.tar.partial").write_bytes(b"a longer beginning of another one")

    with new_file(file) as target:
        target.write(b"whole")

    assert file.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [file]


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "export.tar"

    with new_file(file) as target:
        target.write(b"whole")
        with pytest.raises(UserError, match="another process writes"), new_file(file):
            pass
        with pytest.raises(UserError, match="another process writes"), new_file(file):
            pass

    assert file.read_bytes() == b"whole"


def test_a_file_that_has_come_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "export.tar"

    with pytest.raises(UserError, match="exists already"), new_file(file):
        file.write_bytes(b"another")

    assert file.read_bytes() == b"another"
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a bug"), new_file(tmp_path / "export.tar"):
        raise ValueError("a bug")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["export.tar", "export.tar.partial"])
def test_links_and_pipes_are_refused(tmp_path: Path, name: str) -> None:
    file, elsewhere = tmp_path / "export.tar", tmp_path / "elsewhere"
    (tmp_path / name).symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"cannot write|exists already"), new_file(file):
        pass
    assert not elsewhere.exists()
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)

    with pytest.raises(UserError, match="remove it"), new_file(file):
        pass
