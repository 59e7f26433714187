"""Operators run a stage for photos that are already stored."""

import signal
import subprocess

from tests.ops.cli.operating import Steer, Upload, answer_of, told_by
from tests.ops.observer import Observer
from tests.ops.systems import DEADLINE_S, PHOTOLOG, System, wait_until


def test_a_backfill_runs_a_stage_for_photos_uploaded_without_it(
    steered_system: System, upload: Upload, observer: Observer
) -> None:
    photos = upload(3, "--wait", "--pipeline", "quick_processing")

    first = told_by(steered_system, "backfill", "placeholder", "--run", "first")
    observer.completed(photos, jobs=2)
    again = answer_of(steered_system, "backfill", "placeholder", "--run", "first")

    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("run first: ")
    assert again["requested"] == 0
    assert again["already"] >= 3
    for photo in photos:
        events = observer.history(photo)
        done = [e["data"]["stage"] for e in events if e["type"].endswith("stage.completed")]
        assert done == ["validation", "thumbnails", "placeholder"]


def test_a_backfill_that_is_interrupted_while_it_waits_can_be_continued(
    steered_system: System, upload: Upload, observer: Observer, steer: Steer
) -> None:
    quick = upload(2, "--wait", "--pipeline", "quick_processing")
    steer("pause", "validation")
    waiting = upload(1, "--priority", "10")
    observer.waiting(1)
    before = observer.queue_requests()
    command = ("backfill", "--data", str(steered_system.data), "placeholder", "--run", "second")
    with subprocess.Popen(
        [*PHOTOLOG, *command, "--ahead", "0"], stderr=subprocess.PIPE, text=True
    ) as backfill:
        wait_until(lambda: observer.queue_requests() > before, "it asks how many tasks wait")
        backfill.send_signal(signal.SIGINT)
        _, said = backfill.communicate(timeout=DEADLINE_S)

    assert backfill.returncode == 130
    assert said == "Interrupted. Continue with: photolog backfill placeholder --run second\n"
    assert {observer.count(photo, "requested") for photo in quick} == {0}
    answer_of(steered_system, "queues", "resume", "validation")
    observer.completed(waiting)
    done = told_by(steered_system, "backfill", "placeholder", "--run", "second", "--ahead", "0")
    assert done.exit_code == 0, done.output
    observer.completed(quick, jobs=2)
    observer.completed(waiting, jobs=2)
