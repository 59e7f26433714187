"""A rebuild or rollback that is killed anywhere leaves a usable generation, and can go on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from projections import fold
from projections.projector import Projector
from projections.rebuild import rebuild
from projections.verify import verify
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import open_reader
from store.sqlite.generations import Generations
from tests.projections.conftest import execute, live_rows
from tests.projections.stories import SCRIPT, processed, upload
from tests.projections.test_kept_generations import live

PHOTOS = 30

WORK = """
import sys
from pathlib import Path
import anyio
from projections import fold
from projections.rebuild import rebuild
from projections.rollback import roll_back
from store.errors import StoreError
from store.log.log import Log
from store.redis.connection import connect
from store.sqlite.generations import Generations

async def run(url, prefix, folder):
    fold.BATCH = 7
    redis = connect(url)
    log = await Log.find(redis, prefix=prefix)
    generations = Generations(Path(folder))
    print("ready", flush=True)
    while True:
        await rebuild(log, generations)
        await roll_back(log, generations)

anyio.run(run, *sys.argv[1:])
"""


def killed(url: str, log: Log, generations: Generations, random: Random) -> None:
    """Let a process rebuild and roll back until it is killed at a random moment."""
    with subprocess.Popen(
        [sys.executable, "-c", WORK, url, log.keys.prefix, str(generations.folder)],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        until = time.monotonic() + random.uniform(0.0, 0.6)
        while time.monotonic() < until and process.poll() is None:
            pass
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)


def left(generations: Generations) -> list[Path]:
    return sorted(generations.folder.glob("*-building"))


@pytest.mark.parametrize("seed", range(6))
async def test_a_kill_at_any_moment_leaves_a_usable_generation(
    log: Log, projector: Projector, generations: Generations, valkey_url: str, seed: int
) -> None:
    random = Random(seed)
    print(f"seed {seed}")
    await execute(log, *SCRIPT)
    for number in range(10, 10 + PHOTOS):
        await execute(log, upload(number), *processed(number))
    await projector.catch_up()
    expected = live_rows(generations)

    for _ in range(4):
        await anyio.to_thread.run_sync(killed, valkey_url, log, generations, random)
        with closing(open_reader(live(generations))) as db:
            assert fold.mismatch(db, log.log_id) is None
            assert fold.damage(db) is None
        assert live_rows(generations) == expected

    await rebuild(log, generations)
    assert left(generations) == []
    assert live_rows(generations) == expected
    assert (await verify(log, generations)).equal


async def test_a_rebuild_continues_where_a_killed_one_was(
    log: Log, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "BATCH", 5)
    await execute(log, *SCRIPT)

    with pytest.raises(Interrupted):
        await rebuild(log, generations, stop_after(3))
    assert len(left(generations)) == 1
    report = await rebuild(log, generations)

    assert report.resumed_at == 15
    assert left(generations) == []
    assert (await verify(log, generations)).equal


async def test_a_half_built_generation_of_events_that_the_log_has_lost_is_dropped(
    log: Log, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "BATCH", 5)
    await execute(log, *SCRIPT)
    with pytest.raises(Interrupted):
        await rebuild(log, generations, stop_after(3))
    fifteenth = (await log.read(Position.start(0), count=15))[-1]
    redis: Any = log.redis
    await redis.xdel(log.keys.log(0), fifteenth.position.entry_id)

    report = await rebuild(log, generations)

    assert report.resumed_at == 0
    assert left(generations) == []
    assert (await verify(log, generations)).equal


async def test_a_starting_projector_leaves_a_half_built_generation_for_the_next_rebuild(
    log: Log, projector: Projector, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "BATCH", 5)
    await execute(log, *SCRIPT)
    await projector.catch_up()
    with pytest.raises(Interrupted):
        await rebuild(log, generations, stop_after(3))

    await Projector(log, generations).catch_up()

    assert (await rebuild(log, generations)).resumed_at == 15


class Interrupted(BaseException):
    """As the end of a process, and not an error of the work."""


def stop_after(commits: int) -> Callable[[int, int], None]:
    seen: list[int] = []

    def stop(done: int, _total: int) -> None:
        seen.append(done)
        if len(seen) == commits:
            raise Interrupted

    return stop
