"""Fixtures for commands of operators, on a system of their own."""

import json
import os
import signal
import uuid
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest

from tests.ops.cli.operating import REASON, Steer, Upload, answer_of, told_by
from tests.ops.conftest import started
from tests.ops.observer import Observer
from tests.ops.systems import System, jpeg, wait_until


@pytest.fixture(scope="session")
def steered_system() -> Generator[System]:
    """A system for tests that stop its stages and count all waiting tasks, and undo it."""
    yield from started()


@pytest.fixture
def observer(steered_system: System) -> Generator[Observer]:
    with closing(Observer(steered_system)) as opened:
        yield opened


@pytest.fixture
def upload(steered_system: System, tmp_path: Path) -> Upload:
    """Upload pictures that all differ, and return their ids."""

    def send(count: int, *options: str) -> list[str]:
        paths = [tmp_path / f"{uuid.uuid4().hex}.jpg" for _ in range(count)]
        for path in paths:
            path.write_bytes(jpeg())
        done = told_by(steered_system, "upload", "--json", *options, *map(str, paths))
        assert done.exit_code == 0, done.output
        return [json.loads(line)["photoId"] for line in done.stdout.splitlines()]

    return send


@pytest.fixture
def steer(steered_system: System, observer: Observer) -> Generator[Steer]:
    """Run a command of ``queues`` and wait until workers follow it; undo everything at the end."""

    def give(*arguments: str) -> None:
        answer_of(steered_system, "queues", *arguments)
        wait_until(observer.is_followed, "workers follow the command")

    yield give
    answer_of(steered_system, "queues", "resume", "all")
    answer_of(
        steered_system, "queues", "limit", "validation", "--rate", "none", "--concurrency", "none"
    )


@pytest.fixture
def cancelled(
    steered_system: System, steer: Steer, upload: Upload, observer: Observer
) -> Callable[[int], list[str]]:
    """Upload photos whose waiting tasks are then cancelled; the stage runs again afterwards."""

    def cancel(count: int) -> list[str]:
        steer("pause", "validation")
        photos = upload(count)
        observer.waiting(count)
        answer = answer_of(steered_system, "queues", "cancel", "validation", "--yes", *REASON)
        assert answer == {"cancelled": count, "remaining": 0}
        answer_of(steered_system, "queues", "resume", "validation")
        return photos

    return cancel


@pytest.fixture
def stopped_worker(steered_system: System, observer: Observer) -> Generator[str]:
    """Stop the worker's process for a while; yield its name among the workers."""
    pid = steered_system.pid_of("worker-1")
    assert pid is not None
    (worker,) = observer.get("/api/ops/queues")["workers"]
    os.kill(pid, signal.SIGSTOP)
    yield worker["name"]
    os.kill(pid, signal.SIGCONT)
