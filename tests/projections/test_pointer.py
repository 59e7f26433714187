"""Whatever ``current`` holds, the system goes on: what names no generation counts as missing."""

import shutil
from pathlib import Path

import pytest

from projections.runner import Projector
from projections.verify import verify
from store.errors import Unavailable
from store.generations import Generations
from store.log import Log
from store.reader import Reader
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
async def test_a_pointer_to_no_generation_is_none(
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


async def test_nonsense_in_the_pointer_is_told_once(
    generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    generations.folder.mkdir()
    (generations.folder / "current").write_bytes(b"nonsense")

    for _ in range(5):
        assert generations.current() is None

    assert caplog.text.count("does not name a generation") == 1
