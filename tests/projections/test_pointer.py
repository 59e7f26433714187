"""A pointer ``current`` that names no generation counts as missing, whatever it contains."""

import os
import shutil
import socket
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

from projections.projector import Projector
from projections.rebuild import rebuild
from projections.verify import verify
from store.errors import Unavailable
from store.log.log import Log
from store.sqlite.generations import Generations
from store.sqlite.reader import Reader
from tests.projections.conftest import execute, live_rows
from tests.projections.stories import upload


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\x00" * 17,
        b"\xff\xfe garbage",
        b"0123456789ab.sqlite\x00",
        b"ffffffffffff.sqlite",
        b"kept/0123456789ab.sqlite",
        b"../outside.sqlite",
        b"/etc/passwd",
        b"x" * 100_000,
    ],
)
async def test_a_pointer_to_no_generation_counts_as_missing(
    log: Log,
    generations: Generations,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
) -> None:
    await execute(log, upload(1), upload(2))
    await Projector(log, generations).catch_up()
    before, old = live_rows(generations), generations.current()
    assert old is not None
    outside = tmp_path / "outside.sqlite"
    shutil.copy(old, outside)
    untouched = outside.read_bytes()
    (generations.folder / "current").write_bytes(content)

    assert Generations(generations.folder).current() is None
    reader = Reader(generations)
    with pytest.raises(Unavailable, match="no read model yet"):
        await reader.check(1)
    await Projector(log, generations).catch_up()

    assert live_rows(generations) == before
    assert generations.current() != old
    assert (await verify(log, generations)).equal
    assert outside.read_bytes() == untouched
    if content != b"ffffffffffff.sqlite":
        assert "does not name a generation" in caplog.text


async def test_an_invalid_pointer_is_logged_once(
    generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    generations.folder.mkdir()
    (generations.folder / "current").write_bytes(b"nonsense")

    for _ in range(5):
        assert generations.current() is None

    assert caplog.text.count("does not name a generation") == 1


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "note").write_bytes(b"not ours")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _socket(path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX) as listener,
        chdir(path.parent),
    ):  # socket paths must be short
        listener.bind(path.name)


@pytest.mark.parametrize("name", ["current", "current.new", "0123456789ab.sqlite"])
@pytest.mark.parametrize("make", [_folder, Path.mkdir, os.mkfifo, _loop, _socket])
async def test_anything_but_a_file_is_replaced_by_the_read_model(
    log: Log, generations: Generations, make: Callable[[Path], None], name: str
) -> None:
    await execute(log, upload(1), upload(2))
    await Projector(log, generations).catch_up()
    before = live_rows(generations)
    (generations.folder / "current").unlink()
    if name.endswith(".sqlite"):
        (generations.folder / "current").write_text(name)
    make(generations.folder / name)

    assert Generations(generations.folder).current() is None
    await Projector(log, generations).catch_up()
    current = generations.current()
    await rebuild(log, generations)

    assert current is not None
    assert generations.current() != current
    assert live_rows(generations) == before
    kept = [path.read_bytes() for path in generations.folder.rglob("note")]
    assert kept == ([b"not ours"] if make is _folder else [])
