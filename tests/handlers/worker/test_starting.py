"""Decoders that fail to start are started again; the pool fails only if none ever starts."""

import itertools
import sys
from pathlib import Path

import anyio
import pytest

from handlers.decoder import pool
from handlers.decoder.pool import STARTS, DecoderPool
from handlers.stage import StageFailure
from tests.handlers.failing_stages import Seen
from tests.handlers.pictures import encoded, gradient


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "START_PAUSE_S", 0.01)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_child_that_is_killed_while_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded(gradient(200, 100), "JPEG"))
    killed_once = tmp_path / "python"
    killed_once.write_text(
        f'#!/bin/sh\nmkdir "$0.killed" 2>/dev/null && kill -9 $$\nexec {sys.executable} "$@"\n'
    )
    killed_once.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(killed_once))
    processes: set[int] = set()

    async def look(pool: DecoderPool, of: str) -> None:
        output = await pool.run(stage="look", affinity=of, source=photo, timeout_s=20)
        assert isinstance(output.result, Seen)
        processes.add(output.result.process)

    numbers = itertools.count()
    async with DecoderPool(count=count, registry="tests.handlers.failing_stages:TABLE") as pool:
        with anyio.fail_after(30):
            while len(processes) < count:
                async with anyio.create_task_group() as tasks:
                    for _ in range(count):
                        tasks.start_soon(look, pool, str(next(numbers)))

    assert pool.restarts == {"decoder-does-not-start": 1}


async def test_a_pool_fails_if_none_of_its_children_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = DecoderPool(count=2)

    with pytest.raises(StageFailure) as failed:
        async with pool:
            pass

    assert failed.value.code == "decoder-does-not-start"
    assert pool.restarts.total() >= STARTS
