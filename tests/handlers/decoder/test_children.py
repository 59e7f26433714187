"""What the processes that decode see, and how they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest

from handlers.decoder.child import NICENESS
from handlers.decoder.pool import DecoderPool
from tests.handlers.decoders import REGISTRY, failure, seen
from tests.handlers.failing_stages import Seen


async def test_children_cannot_see_the_workers_secrets(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOLOG_S3_SECRET_KEY", "hidden")

    async with DecoderPool(count=1, registry=REGISTRY) as pool:
        environment = (await failure(pool, "tell_environment", photo)).message.split()

    assert environment == []


async def test_children_compile_modules_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_stages.py").write_text(f"from {REGISTRY.replace(':', ' import ')}")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # so that only a child compiles it

    async with DecoderPool(count=1, registry="own_stages:TABLE"):
        compiled = [*(tmp_path / "__pycache__").iterdir()]

    assert len(compiled) == 1


async def test_children_ignore_ctrl_c_and_stop_signals(one: DecoderPool, photo: Path) -> None:
    child = (await seen(one, photo)).process

    os.kill(child, signal.SIGINT)
    os.kill(child, signal.SIGTERM)

    assert (await seen(one, photo)).process == child


def test_children_end_with_a_worker_that_is_killed() -> None:
    program = """
import anyio
from handlers.decoder.pool import DecoderPool

async def main():
    async with DecoderPool(count=1):
        print("ready", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        (child,) = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()

        worker.kill()

    deadline = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < deadline:
        os.sched_yield()
    assert not is_alive(child)


def is_alive(process: str) -> bool:
    """Return whether the process runs; a zombie, which waits for its new parent, does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def test_decoders_run_at_a_lower_priority_than_the_worker(
    one: DecoderPool, photo: Path
) -> None:
    output = await one.run(stage="look", affinity="a", source=photo, timeout_s=9)

    seen = cast("Seen", output.result)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, seen.process) == min(ours + NICENESS, 19)
