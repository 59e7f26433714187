"""An export or an audit that is killed at any step changes nothing, and is done by the next run."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.maintenance.audit import audit
from ops.maintenance.log_import import Export
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.redis.connection import connect
from tests.servers import url_in, valkey
from tests.store.archive.segments import fill, trim_all

KILLS = int(os.environ.get("PHOTOLOG_TEST_KILLS", "4"))


def run_until(calls: int, *words: str) -> int | None:
    """Run the command; return how many calls it made, or None if it was killed at that one."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.ops.cli.killed_command", str(calls), *words],
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return int(done.stderr.split()[-1])
    assert done.returncode == -signal.SIGKILL, done.stderr
    return None


async def test_a_killed_export_or_audit_changes_nothing(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with valkey(own_folder):
        monkeypatch.setenv("PHOTOLOG_REDIS_URL", url_in(own_folder))
        monkeypatch.setenv("PHOTOLOG_DATA", str(tmp_path))
        redis = connect(url_in(own_folder))
        log, blobs = await Log.open(redis), FolderBlobs(tmp_path / "blobs", "test")
        await blobs.put("originals/aa/aa", b"")
        await fill(log, 20)
        await trim_all(log, blobs)
        before = await audit(log)
        files = sorted(blob.key for blob in await blobs.keys(""))
        file = tmp_path / "export.tar"

        for words in (("log", "export", str(file)), ("verify",)):
            calls = run_until(0, *words)
            assert calls is not None
            file.unlink(missing_ok=True)
            killed = 0
            for _ in range(KILLS):
                killed += run_until(chance.randint(1, calls), *words) is None
                file.unlink(missing_ok=True)
                assert await audit(log) == before
            assert killed > 0

        assert run_until(0, "log", "export", str(file)) is not None
        assert sorted(blob.key for blob in await blobs.keys("")) == files
        await redis.aclose()
    source = Export(file)
    assert sum(1 for _ in source.entries(0)) == before.events
    source.close()
