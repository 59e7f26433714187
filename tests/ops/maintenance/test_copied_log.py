"""A copy of a log is removed, even if the process that made it was killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ops.config.settings import Settings
from ops.maintenance.copied_log import serving_alone, serving_copy
from ops.runtime.wiring import open_log

KILLED = """
import sys
import anyio
from ops.config.settings import Settings
from ops.maintenance.copied_log import serving_copy

async def run():
    async with serving_copy(Settings(data=sys.argv[1])):
        print("ready", flush=True)
        await anyio.sleep_forever()

anyio.run(run)
"""


async def test_the_copy_of_a_killed_process_is_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data=str(tmp_path / "data"))
    async with (
        serving_alone(settings) as url,
        open_log(Settings(redis_url=url), create=True) as log,
    ):
        log_id = log.log_id
    with tempfile.TemporaryDirectory(prefix="photolog-") as temporary:
        monkeypatch.setenv("TMPDIR", temporary)
        monkeypatch.setattr(tempfile, "tempdir", None)
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "data")], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            async with serving_copy(settings):
                assert len(list(Path(temporary).iterdir())) == 2  # a running one is left alone
            os.kill(process.pid, signal.SIGKILL)
        assert len(list(Path(temporary).iterdir())) == 1

        async with (
            serving_copy(settings) as url,
            open_log(Settings(redis_url=url)) as copied,
        ):
            assert copied.log_id == log_id

        assert list(Path(temporary).iterdir()) == []
