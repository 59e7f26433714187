"""Operators drain stages."""

import signal
import subprocess

import pytest
from click.testing import CliRunner

from ops.cli.main import main
from tests.ops.cli.operating import Steer, Upload, answer_of, state_of
from tests.ops.observer import Observer
from tests.ops.systems import DEADLINE_S, PHOTOLOG, System, wait_until


def test_a_drain_asks_first_and_ends_when_the_stage_is_idle(
    steered_system: System, upload: Upload, observer: Observer, steer: Steer
) -> None:
    steer("limit", "validation", "--concurrency", "1")
    drain = ["--data", str(steered_system.data), "queues", "drain", "validation"]

    unsure = CliRunner().invoke(main, drain, input="n\n")
    still = state_of(steered_system, "validation")
    photos = upload(5)
    sure = CliRunner().invoke(main, drain, input="y\n")
    drained = state_of(steered_system, "validation")
    again = answer_of(steered_system, "queues", "drain", "validation", "--yes")
    answer_of(steered_system, "queues", "resume", "validation")

    question = "Pause validation? 0 tasks running will finish, 0 tasks waiting will stay. [y/N]: "
    assert (unsure.exit_code, unsure.stdout) == (1, "")
    assert unsure.stderr.startswith(question)
    assert still == "running"
    assert (sure.exit_code, sure.stdout) == (0, "validation: paused and idle\n"), sure.output
    assert drained == "paused"
    assert (again["idle"], again["running"]) == (True, 0)
    observer.completed(photos)


def test_a_drain_that_does_not_end_in_time_says_what_it_waits_for(
    steered_system: System, stopped_worker: str, steer: Steer
) -> None:
    done = steered_system.photolog("queues", "drain", "all", "--yes", "--timeout", "1s")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"all: not idle after 1s: the pause is not noticed yet by {stopped_worker}. "
        "It stays paused until `photolog queues resume all`.\n"
    )


@pytest.mark.usefixtures("stopped_worker")
def test_a_drain_that_is_interrupted_leaves_the_pause_and_says_so(
    steered_system: System, observer: Observer, steer: Steer
) -> None:
    before = observer.drain_requests()
    command = [*PHOTOLOG, "queues", "--data", str(steered_system.data), "drain", "all", "--yes"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as drain:
        wait_until(lambda: observer.drain_requests() > before + 1, "it waits")
        drain.send_signal(signal.SIGINT)
        _, said = drain.communicate(timeout=DEADLINE_S)

    assert drain.returncode == 130
    assert said == "Interrupted. It stays paused until `photolog queues resume all`.\n"
    assert state_of(steered_system, "validation") == "draining"
