"""The log's files as a power cut or an accident may leave them."""

import random
import shutil
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from handlers.parent_death import bound_to_parent
from ops.errors import UserError
from ops.process.append_only import FILES, MANIFEST
from ops.process.embedded_valkey import Valkey
from store.log.log import Log
from store.redis.connection import connect
from tests.conftest import CONTEXT
from tests.servers import LONG
from tests.store.commands import upload

MOST_CUTS = 5_000 if LONG else 60
"""The number of offsets at which the last record is cut; a longer record is sampled."""

PHOTOS = 3
DEADLINE_S = 20.0
INCREMENT = f"{FILES}/appendonly.aof.1.incr.aof"
BASE = f"{FILES}/appendonly.aof.1.base.rdb"


@asynccontextmanager
async def _serving(folder: Path) -> AsyncGenerator[tuple[Valkey, Log]]:
    valkey = Valkey(folder)
    process = subprocess.Popen(bound_to_parent(valkey.prepare()))
    try:
        deadline = time.monotonic() + DEADLINE_S
        while await valkey.state() != "ready":
            assert process.poll() is None, valkey.last_words()
            assert time.monotonic() < deadline
        redis = connect(valkey.url)
        try:
            yield valkey, await Log.open(redis)
        finally:
            await redis.aclose()
    finally:
        process.kill()
        process.wait()
        valkey.clean()


async def _versions(log: Log, photos: list[str]) -> list[int]:
    return [(await log.load(photo_id, "alice")).version for photo_id in photos]


class Written:
    """The files of a killed server, and the offset of its last record."""

    def __init__(self, folder: Path, photos: list[str], start: int) -> None:
        self.folder = folder
        self.photos = photos
        self.start = start
        self.content = (folder / INCREMENT).read_bytes()

    def copy(self, folder: Path, content: bytes | None = None) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder / FILES, folder / FILES)
        if content is not None:
            (folder / INCREMENT).write_bytes(content)
        return folder


@pytest.fixture
async def written(data: Path) -> Written:
    folder = data / "valkey"
    photos: list[str] = []
    start = 0
    async with _serving(folder) as (_, log):
        for _ in range(PHOTOS):
            start = (folder / INCREMENT).stat().st_size
            command = upload()
            await log.execute(command, client_id="alice", context=CONTEXT)
            photos.append(command.photo_id)
    return Written(folder, photos, start)


async def test_a_record_cut_at_any_byte_costs_that_record_alone(
    written: Written, data: Path
) -> None:
    seed = random.randrange(2**32)
    end = len(written.content)
    offsets = range(written.start, end + 1)
    print(f"seed {seed}, a record of {end - written.start} bytes")
    if len(offsets) > MOST_CUTS:
        drawn = random.Random(seed).sample(offsets, MOST_CUTS)
        offsets = sorted({*drawn, written.start, written.start + 1, end - 1, end})

    for offset in offsets:
        folder = written.copy(data / "cut", written.content[:offset])
        async with _serving(folder) as (valkey, log):
            versions = await _versions(log, written.photos)
            assert versions == [1] * (PHOTOS - 1) + [int(offset == end)], offset
            assert valkey.cut() == (written.start < offset < end), offset


@pytest.mark.parametrize("zeros", [1, 4096, 200_000])
@pytest.mark.parametrize("kept", [0, 7])
async def test_zeros_after_the_last_record_are_removed(
    written: Written, data: Path, zeros: int, kept: int
) -> None:
    content = written.content[: written.start + kept] + bytes(zeros)
    folder = written.copy(data / "zeros", content)

    async with _serving(folder) as (_, log):
        assert await _versions(log, written.photos) == [1] * (PHOTOS - 1) + [0]


@pytest.mark.parametrize(
    ("manifest", "words"), [(None, "missing"), (b"", "empty"), (b"file appendonly.ao", "damaged")]
)
async def test_a_log_without_its_manifest_is_rejected_and_left_unchanged(
    written: Written, data: Path, manifest: bytes | None, words: str
) -> None:
    folder = written.copy(data / "copy")
    (folder / FILES / MANIFEST).unlink()
    if manifest is not None:
        (folder / FILES / MANIFEST).write_bytes(manifest)

    with pytest.raises(UserError, match=f"manifest.*is {words}.*write it yourself"):
        Valkey(folder).prepare()

    assert (folder / INCREMENT).read_bytes() == written.content


async def test_the_manifest_can_be_rewritten_as_the_error_says(
    written: Written, data: Path
) -> None:
    folder = written.copy(data / "copy")
    (folder / FILES / MANIFEST).write_text(
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    )

    async with _serving(folder) as (_, log):
        assert await _versions(log, written.photos) == [1] * PHOTOS


@pytest.mark.parametrize("name", [BASE, INCREMENT])
async def test_a_missing_file_of_the_log_is_named(written: Written, data: Path, name: str) -> None:
    folder = written.copy(data / "copy")
    (folder / name).unlink()

    with pytest.raises(UserError, match=rf"{Path(name).name} is missing: restore"):
        Valkey(folder).prepare()


@pytest.mark.parametrize("left", [(), (BASE,), (INCREMENT,), (BASE, INCREMENT)])
async def test_an_interrupted_first_start_can_be_repeated(
    written: Written, data: Path, left: tuple[str, ...]
) -> None:
    folder = data / "begun"
    (folder / FILES).mkdir(parents=True)
    for name in left:
        (folder / name).touch()
    if BASE in left:
        shutil.copy(written.folder / BASE, folder / BASE)

    async with _serving(folder) as (_, log):
        assert await log.execute(upload(), client_id="alice", context=CONTEXT)
