import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.process.supervised_process import SupervisedProcess
from store.background import Background
from tests.ops.systems import DEADLINE_S


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_bug_between_two_starts_is_logged_and_the_process_still_restarts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    background = Background()
    pid = tmp_path / "pid"

    def last_words() -> str:
        raise UnicodeError("what it wrote cannot be read")

    process = SupervisedProcess(
        "worker-1",
        lambda: ["sh", "-c", f"echo $$ >> {pid}; exec sleep 600"],
        environment={**os.environ},
        fds=(),
        background=background,
        last_words=last_words,
    )
    await until(lambda: pid.exists() and pid.read_text())
    os.kill(int(pid.read_text()), signal.SIGKILL)

    await until(lambda: len(pid.read_text().split()) == 2)

    assert background.failures == {"process": 1}
    assert "process of worker-1 failed, restarting it" in caplog.text
    await process.stop(DEADLINE_S)
