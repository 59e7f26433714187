"""Local copies of remote blobs."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from store.blobs.local_copies import LocalCopies
from store.errors import Missing


class Source:
    """Counts how often it is called."""

    def __init__(self, data: bytes = b"12345") -> None:
        self.data = data
        self.fetched = 0

    async def fetch(self, path: Path) -> None:
        self.fetched += 1
        await anyio.Path(path).write_bytes(self.data)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.name != "lock"]


async def test_concurrent_readers_of_a_blob_share_a_copy(tmp_path: Path) -> None:
    copies, source = LocalCopies(tmp_path, 100), Source()
    async with copies.of("a", source.fetch) as first, copies.of("a", source.fetch) as second:
        assert first == second
        assert first.read_bytes() == source.data
    async with copies.of("a", source.fetch):
        pass

    assert source.fetched == 1
    copies.close()
    assert files(tmp_path) == []


async def test_unused_copies_make_room_for_others(tmp_path: Path) -> None:
    copies, source = LocalCopies(tmp_path, 10), Source()
    async with copies.of("used", source.fetch) as used:
        for key in ("a", "b", "c"):
            async with copies.of(key, source.fetch):
                pass
            assert len(files(tmp_path)) <= 2
        assert used.exists()
        async with copies.of("c", source.fetch):
            pass

    assert source.fetched == 4
    copies.close()


async def test_a_deleted_blob_has_no_copy(tmp_path: Path) -> None:
    copies, source = LocalCopies(tmp_path, 100), Source()
    async with copies.of("a", source.fetch) as path:
        copies.forget("a")
        assert path.exists()

    assert files(tmp_path) == []
    copies.close()


async def test_a_copy_that_could_not_be_fetched_is_fetched_again(tmp_path: Path) -> None:
    copies, source = LocalCopies(tmp_path, 100), Source()

    async def fail(path: Path) -> None:
        await source.fetch(path)
        raise Missing("gone")

    with pytest.raises(Missing):
        async with copies.of("a", fail):
            pass
    assert files(tmp_path) == []

    async with copies.of("a", source.fetch) as path:
        assert path.read_bytes() == source.data
    copies.close()


async def test_only_copies_of_killed_processes_are_removed(
    tmp_path: Path,
) -> None:
    living, source = LocalCopies(tmp_path, 100), Source()
    kill_itself = f"""
import anyio, os, signal
from pathlib import Path
from store.blobs.local_copies import LocalCopies
async def fetch(path):
    path.write_bytes(b"left")
async def main():
    async with LocalCopies(Path({str(tmp_path)!r}), 100).of("a", fetch):
        os.kill(os.getpid(), signal.SIGKILL)
anyio.run(main)
"""
    async with living.of("b", source.fetch) as used:
        subprocess.run([sys.executable, "-c", kill_itself])
        assert len(files(tmp_path)) == 2
        other = LocalCopies(tmp_path, 100)
        async with other.of("c", source.fetch) as path:
            assert sorted(files(tmp_path)) == sorted([used, path])
        other.close()
    living.close()
