"""``photolog log import``: what it says of a file that is damaged, and that it writes nothing."""

import re
import tarfile
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest

from ops.config.settings import Settings
from ops.maintenance.log_export import export
from ops.runtime.wiring import open_log
from store.archive.archive import Archive
from store.blobs.folder import FolderBlobs
from store.blobs.interface import original_key
from tests.ops.cli.test_verify import clear
from tests.ops.systems import run
from tests.store.archive.segments import fill


@pytest.fixture
def files(valkey_url: str, tmp_path: Path) -> Generator[tuple[Path, Path, str]]:
    """A sound export, one with an altered photo, and the key of that; the server is empty then."""
    sound, altered = tmp_path / "sound.tar", tmp_path / "altered.tar"

    async def arrange() -> str:
        blobs = FolderBlobs(tmp_path / "blobs")
        async with open_log(Settings(redis_url=valkey_url), create=True) as log:
            [photo_id] = await fill(log, 1)
            await blobs.put(original_key(photo_id), photo_id.encode())
            with sound.open("wb") as file:
                await export(log, Archive(blobs, log.log_id), file, blobs=blobs)
        with tarfile.open(sound) as tar:
            at = tar.getmember(f"blobs/{original_key(photo_id)}").offset_data
        data = bytearray(sound.read_bytes())
        data[at] ^= 1
        altered.write_bytes(data)
        return original_key(photo_id)

    anyio.run(clear, valkey_url)
    key = anyio.run(arrange)
    anyio.run(clear, valkey_url)
    yield sound, altered, key
    anyio.run(clear, valkey_url)


def test_damage_is_listed_and_nothing_is_written(
    files: tuple[Path, Path, str], valkey_url: str, tmp_path: Path
) -> None:
    sound, altered, key = files
    data = tmp_path / "data"
    options = "--data", str(data)

    refused = run("log", "import", str(altered), *options, PHOTOLOG_REDIS_URL=valkey_url)
    nothing = not (data / "blobs").exists()
    partly = run(
        *("log", "import", "--damaged", str(altered), *options), PHOTOLOG_REDIS_URL=valkey_url
    )
    whole = run(
        *("log", "import", "--revoke-access", str(sound), *options), PHOTOLOG_REDIS_URL=valkey_url
    )

    assert (refused.exit_code, nothing) == (1, True)
    assert refused.stdout.startswith(f"altered  {key}  of photo ")
    assert "--damaged" in refused.stderr
    assert partly.exit_code == 0
    assert partly.stdout.splitlines()[-2] == "imported 2 events and 0 files"
    assert "has no photos" not in partly.stdout + whole.stdout
    assert whole.exit_code == 0
    assert "imported 2 events and 1 file" in whole.stdout
    assert "revoked all tokens and API keys: 0 keys in force" in whole.stdout
    assert (data / "blobs" / key).read_bytes().decode() == key.rpartition("/")[2]


@pytest.mark.parametrize("partitions", ["1", "3"])
def test_the_anchor_and_positions_that_are_printed_exclude_what_the_import_appends(
    files: tuple[Path, Path, str], valkey_url: str, tmp_path: Path, partitions: str
) -> None:
    options = "--data", str(tmp_path / "data")
    command = (
        "log",
        "import",
        "--revoke-access",
        str(files[0]),
        *options,
        "--partitions",
        partitions,
    )

    done = run(*command, PHOTOLOG_REDIS_URL=valkey_url)
    again = run(*command, PHOTOLOG_REDIS_URL=valkey_url)

    found = re.search("^anchor (.+)  up to (.+)$", done.stdout, re.MULTILINE)
    assert found is not None, done.output
    assert len(found[2].split(",")) == int(partitions)
    assert found[0] in again.stdout.splitlines(), again.output
    noted = "--anchor", found[1], "--upto", found[2]
    compared = run("verify", *options, *noted, PHOTOLOG_REDIS_URL=valkey_url)
    assert compared.exit_code == 0, compared.output
    assert "matches the anchor" in compared.stdout


def test_an_import_says_that_the_file_has_no_photos(valkey_url: str, tmp_path: Path) -> None:
    file = tmp_path / "log.tar"

    async def arrange() -> None:
        async with open_log(Settings(redis_url=valkey_url), create=True) as log:
            await fill(log, 1)
            with file.open("wb") as target:
                await export(log, Archive(FolderBlobs(tmp_path / "blobs"), log.log_id), target)

    anyio.run(clear, valkey_url)
    anyio.run(arrange)
    anyio.run(clear, valkey_url)
    done = run(
        *("log", "import", str(file), "--data", str(tmp_path / "data")),
        PHOTOLOG_REDIS_URL=valkey_url,
    )
    anyio.run(clear, valkey_url)

    assert done.exit_code == 0, done.output
    assert "\nthe file has no photos: copy them into " in done.stdout
