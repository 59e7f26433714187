"""Commands of operators, on a running system."""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ops.cli.main import main
from store.log.position import Position
from tests.ops.observer import Observer
from tests.ops.systems import DEADLINE_S, PHOTOLOG, System, jpeg, photolog, run, wait_until

HEEDED_S = 1.0
"""Within this time, workers follow a command."""

REASON = ("--reason", "a bad batch")

Upload = Callable[..., list[str]]
Steer = Callable[..., None]


def _photolog(system: System, *arguments: str) -> Result:
    return run("--data", str(system.data), *arguments)


def _json(system: System, *arguments: str) -> Any:
    done = _photolog(system, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def shared_system(module_system: System) -> System:
    """A system for these tests alone, which stop stages and count all waiting tasks."""
    return module_system


@pytest.fixture
def observer(shared_system: System) -> Generator[Observer]:
    with closing(Observer(shared_system)) as opened:
        yield opened


@pytest.fixture
def upload(shared_system: System, tmp_path: Path) -> Upload:
    """Upload pictures that all differ, and return their ids."""

    def send(count: int, *options: str) -> list[str]:
        paths = [tmp_path / f"{uuid.uuid4().hex}.jpg" for _ in range(count)]
        for path in paths:
            path.write_bytes(jpeg())
        done = _photolog(shared_system, "upload", "--json", *options, *map(str, paths))
        assert done.exit_code == 0, done.output
        return [json.loads(line)["photoId"] for line in done.stdout.splitlines()]

    return send


@pytest.fixture
def steer(shared_system: System) -> Generator[Steer]:
    """Run a command of ``queues`` and wait until workers follow it; undo everything at the end."""

    def give(*arguments: str) -> None:
        _json(shared_system, "queues", *arguments)
        heeded_at = time.monotonic() + HEEDED_S
        wait_until(lambda: time.monotonic() > heeded_at, "workers follow the command")

    yield give
    _json(shared_system, "queues", "resume", "all")
    _json(shared_system, "queues", "limit", "validation", "--rate", "none", "--concurrency", "none")


@pytest.fixture
def cancelled(
    shared_system: System, steer: Steer, upload: Upload, observer: Observer
) -> Callable[[int], list[str]]:
    """Upload photos whose waiting tasks are then cancelled; the stage runs again afterwards."""

    def cancel(count: int) -> list[str]:
        steer("pause", "validation")
        photos = upload(count)
        observer.waiting(count)
        answer = _json(shared_system, "queues", "cancel", "validation", "--yes", *REASON)
        assert answer == {"cancelled": count, "remaining": 0}
        _json(shared_system, "queues", "resume", "validation")
        return photos

    return cancel


@pytest.fixture
def stopped_worker(shared_system: System, observer: Observer) -> Generator[str]:
    """Stop the worker's process for a while; yield its name among the workers."""
    pid = shared_system.pid_of("worker-1")
    assert pid is not None
    (worker,) = observer.get("/api/ops/queues")["workers"]
    os.kill(pid, signal.SIGSTOP)
    yield worker["name"]
    os.kill(pid, signal.SIGCONT)


def _dead(system: System, *filters: str) -> list[dict[str, Any]]:
    told = _photolog(system, "dead-letters", "list", "--json", *filters).stdout
    return [json.loads(line) for line in told.splitlines()]


def test_a_paused_stage_starts_no_task_and_completes_all_after_resume(
    shared_system: System, upload: Upload, observer: Observer, steer: Steer
) -> None:
    steer("pause", "validation")
    photos = upload(3)
    observer.waiting(3)
    shown = _photolog(shared_system, "queues").stdout

    resumed = _json(shared_system, "queues", "resume", "validation")["position"]

    observer.completed(photos)
    line = next(line for line in shown.splitlines() if line.startswith("validation"))
    assert line.split()[:4] == ["validation", "0", "3", "0"]
    assert line.rstrip().endswith("paused")
    for photo in photos:
        first, second, *_ = observer.history(photo)
        assert first["type"] == "photo.uploaded"
        assert Position.parse(second["id"]) > Position.parse(resumed)


def test_cancelled_jobs_are_listed_with_their_reason_and_completed_by_a_retry(
    shared_system: System, observer: Observer, cancelled: Callable[[int], list[str]]
) -> None:
    photos = cancelled(3)

    letters = _dead(shared_system, "--category", "configuration", "--stage", "validation")
    told = _photolog(shared_system, "dead-letters").stdout
    answer = _json(shared_system, "dead-letters", "retry", "--category", "configuration")

    assert {each["photoId"] for each in letters} == set(photos)
    assert {(each["code"], each["error"]) for each in letters} == {("cancelled", "a bad batch")}
    assert told.splitlines()[0].startswith("Photo ")
    assert "cancelled: a bad batch" in told
    assert answer == {"retried": 3, "skipped": []}
    observer.completed(photos)
    assert _dead(shared_system) == []
    end = next(e for e in observer.history(photos[0]) if e["type"].endswith(".failed"))
    assert end["metadata"]["actor"] == "operator:local"


def test_a_drain_asks_first_and_ends_when_the_stage_is_idle(
    shared_system: System, upload: Upload, observer: Observer, steer: Steer
) -> None:
    steer("limit", "validation", "--concurrency", "1")
    drain = ["--data", str(shared_system.data), "queues", "drain", "validation"]

    unsure = CliRunner().invoke(main, drain, input="n\n")
    still = _state(shared_system, "validation")
    photos = upload(5)
    sure = CliRunner().invoke(main, drain, input="y\n")
    drained = _state(shared_system, "validation")
    again = _json(shared_system, "queues", "drain", "validation", "--yes")
    _json(shared_system, "queues", "resume", "validation")

    question = "Pause validation? 0 tasks running will finish, 0 tasks waiting will stay. [y/N]: "
    assert (unsure.exit_code, unsure.stdout) == (1, "")
    assert unsure.stderr.startswith(question)
    assert still == "running"
    assert (sure.exit_code, sure.stdout) == (0, "validation: paused and idle\n"), sure.output
    assert drained == "paused"
    assert (again["idle"], again["running"]) == (True, 0)
    observer.completed(photos)


def test_a_drain_that_does_not_end_in_time_says_what_it_waits_for(
    shared_system: System, stopped_worker: str, steer: Steer
) -> None:
    done = shared_system.photolog("queues", "drain", "all", "--yes", "--timeout", "1s")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"all: not idle after 1s: the pause is not noticed yet by {stopped_worker}. "
        "It stays paused until `photolog queues resume all`.\n"
    )


@pytest.mark.usefixtures("stopped_worker")
def test_a_drain_that_is_interrupted_leaves_the_pause_and_says_so(
    shared_system: System, observer: Observer, steer: Steer
) -> None:
    before = observer.drain_requests()
    command = [*PHOTOLOG, "queues", "--data", str(shared_system.data), "drain", "all", "--yes"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as drain:
        wait_until(lambda: observer.drain_requests() > before + 1, "it waits")
        drain.send_signal(signal.SIGINT)
        _, said = drain.communicate(timeout=DEADLINE_S)

    assert drain.returncode == 130
    assert said == "Interrupted. It stays paused until `photolog queues resume all`.\n"
    assert _state(shared_system, "validation") == "draining"


def _state(system: System, stage: str) -> str:
    stages = _json(system, "queues")["stages"]
    return next(each["state"] for each in stages if each["stage"] == stage)


def test_two_operators_who_retry_concurrently_start_each_job_once(
    shared_system: System, observer: Observer, cancelled: Callable[[int], list[str]]
) -> None:
    photos = cancelled(10)

    with ThreadPoolExecutor(2) as operators:
        command = ("dead-letters", "retry", "--data", str(shared_system.data), "--owner", "local")
        futures = [operators.submit(photolog, *command) for _ in range(2)]
        answers = [future.result() for future in futures]

    assert [each.returncode for each in answers] == [0, 0], answers
    observer.completed(photos)
    assert {observer.count(photo, "requested") for photo in photos} == {1}


def test_the_exit_status_is_1_if_a_named_photo_is_skipped(
    shared_system: System, upload: Upload
) -> None:
    (photo,) = upload(1, "--wait")

    shown = _photolog(shared_system, "dead-letters", "retry", photo)

    assert shown.exit_code == 1
    assert shown.stdout == "0 retried, 1 skipped\n"
    why = "its last job has not failed, or its failure was discarded (nothing-failed)"
    assert shown.stderr == f"{photo}: {why}\n"


@pytest.mark.parametrize("what", [("retry",), ("discard", *REASON)])
def test_without_dead_letters_nobody_is_asked(shared_system: System, what: tuple[str, ...]) -> None:
    for selected in (["--all"], ["--owner", "nobody", "--yes"]):
        shown = _photolog(shared_system, "dead-letters", *what, *selected)

        assert (shown.exit_code, shown.output) == (0, "There are no such dead letters.\n")


def test_a_session_without_failures_has_nothing_to_retry_and_the_others_are_counted(
    shared_system: System, steer: Steer, upload: Upload, observer: Observer
) -> None:
    steer("pause", "validation")
    discarded, _ = upload(2, "--session", "trip")
    observer.waiting(2)
    before = _photolog(shared_system, "sessions", "retry", "trip").stdout
    _json(shared_system, "queues", "cancel", "validation", "--yes", *REASON)
    _json(shared_system, "queues", "resume", "validation")
    _json(shared_system, "dead-letters", "discard", discarded, "--yes", *REASON)
    wait_until(
        lambda: "2 failed" in _photolog(shared_system, "sessions", "show", "trip").stdout,
        "both have failed",
    )
    after = _photolog(shared_system, "sessions", "retry", "trip").stdout

    assert before == "There is nothing to retry: no photo of this session has failed.\n"
    why = "its last job has not failed, or its failure was discarded (nothing-failed)"
    assert after == f"1 retried, 1 skipped: {why}\n"


def test_all_are_discarded_only_after_a_confirmation(
    shared_system: System, observer: Observer, cancelled: Callable[[int], list[str]]
) -> None:
    (photo,) = cancelled(1)
    discard = ["--data", str(shared_system.data), "dead-letters", "discard", "--all", *REASON]

    unsure = CliRunner().invoke(main, discard, input="n\n")
    assert [each["photoId"] for each in _dead(shared_system)] == [photo]
    sure = CliRunner().invoke(main, [*discard, "--yes"])

    assert unsure.exit_code == 1
    assert unsure.output.startswith("Discard 1 dead letter? [y/N]: ")
    assert sure.output == "1 discarded\n"
    assert _dead(shared_system) == []
    assert _photolog(shared_system, "dead-letters").stdout == "There are no dead letters.\n"
    last = observer.history(photo)[-1]
    assert (last["type"], last["data"]["reason"]) == ("photo.processing.discarded", "a bad batch")


def test_a_dead_letter_that_is_named_is_discarded_only_after_a_confirmation(
    shared_system: System,
) -> None:
    shown = _photolog(shared_system, "dead-letters", "discard", "nope", *REASON)

    assert shown.exit_code == 1
    assert "Discard 1 dead letter?" in shown.stderr
    assert "confirm with --yes" in shown.stderr


def test_a_retry_of_unreadable_photos_says_that_it_will_fail_again(
    shared_system: System, tmp_path: Path
) -> None:
    picture = tmp_path / "broken.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + uuid.uuid4().bytes)
    sent = _photolog(shared_system, "upload", "--wait", "--json", str(picture))
    photo = json.loads(sent.stdout.splitlines()[0])["photoId"]
    (letter,) = _dead(shared_system)
    headings = _photolog(shared_system, "dead-letters").stdout.splitlines()[0]

    unsure = _photolog(shared_system, "dead-letters", "retry", "--all")
    other = _photolog(shared_system, "dead-letters", "retry", "--category", "temporary")
    named = _photolog(shared_system, "dead-letters", "retry", photo)
    wait_until(lambda: bool(_dead(shared_system)), "it has failed again")
    _photolog(shared_system, "dead-letters", "discard", photo, "--yes", *REASON)

    note = "Note: 1 failure lies in the bytes of the photo (data, security) and will come back"
    assert letter["category"] == "data"
    assert "Attempts  First attempt (UTC)  Last attempt (UTC)" in headings
    assert unsure.exit_code == 1
    assert unsure.stderr.startswith(note)
    assert "Retry 1 dead letter? [y/N]: " in unsure.stderr
    assert other.stderr == ""
    assert named.stderr.startswith(note)
    assert named.stdout == "1 retried\n"


def test_a_terminal_shows_the_progress(
    shared_system: System, cancelled: Callable[[int], list[str]]
) -> None:
    cancelled(2)
    command = [*PHOTOLOG, "dead-letters", "--data", str(shared_system.data), "discard", "--all"]
    terminal, side = os.openpty()
    try:
        done = subprocess.run(
            [*command, "--yes", *REASON], stdout=subprocess.PIPE, stderr=side, timeout=DEADLINE_S
        )
        shown = os.read(terminal, 65_536)
    finally:
        os.close(terminal)
        os.close(side)

    assert b"2/2" in shown
    assert done.stdout == b"2 discarded\n"


def test_a_rate_delays_tasks_until_it_is_removed(
    shared_system: System, upload: Upload, observer: Observer, steer: Steer
) -> None:
    steer("limit", "validation", "--rate", "1/3600000", "--concurrency", "1")
    shown = _photolog(shared_system, "queues").stdout
    photos = upload(3)
    observer.waiting(2)
    kept = _json(shared_system, "queues", "limit", "validation", "--concurrency", "none")

    lifted = _json(shared_system, "queues", "limit", "validation", "--rate", "none")

    observer.completed(photos)
    assert "1 at once, 1 in 3,600,000 ms" in shown
    steer("limit", "validation", "--rate", "9/1000", "--concurrency", "5")
    freed = _json(shared_system, "queues", "limit", "validation", "none")
    assert kept["limit"] == {"concurrency": None, "rate": {"max": 1, "durationMs": 3_600_000}}
    assert lifted["limit"] == freed["limit"] == {"concurrency": None, "rate": None}

    def audited() -> bool:
        newest = ("--what", "pipeline.limited", "--limit", "2")
        told = _photolog(shared_system, "audit", *newest).stdout
        return "validation, no limit" in told and "validation, 5 at once, 9 in 1,000 ms" in told

    wait_until(audited, "the audit list has both limits")


def test_a_backfill_runs_a_stage_for_photos_uploaded_without_it(
    shared_system: System, upload: Upload, observer: Observer
) -> None:
    photos = upload(3, "--wait", "--pipeline", "quick_processing")

    first = _photolog(shared_system, "backfill", "placeholder", "--run", "first")
    observer.completed(photos, jobs=2)
    again = _json(shared_system, "backfill", "placeholder", "--run", "first")

    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("run first: ")
    assert again["requested"] == 0
    assert again["already"] >= 3
    for photo in photos:
        events = observer.history(photo)
        done = [e["data"]["stage"] for e in events if e["type"].endswith("stage.completed")]
        assert done == ["validation", "thumbnails", "placeholder"]


def test_a_backfill_that_is_interrupted_while_it_waits_can_be_continued(
    shared_system: System, upload: Upload, observer: Observer, steer: Steer
) -> None:
    quick = upload(2, "--wait", "--pipeline", "quick_processing")
    steer("pause", "validation")
    waiting = upload(1, "--priority", "10")
    observer.waiting(1)
    before = observer.queue_requests()
    command = ("backfill", "--data", str(shared_system.data), "placeholder", "--run", "second")
    with subprocess.Popen(
        [*PHOTOLOG, *command, "--ahead", "0"], stderr=subprocess.PIPE, text=True
    ) as backfill:
        wait_until(lambda: observer.queue_requests() > before, "it asks how many tasks wait")
        backfill.send_signal(signal.SIGINT)
        _, said = backfill.communicate(timeout=DEADLINE_S)

    assert backfill.returncode == 130
    assert said == "Interrupted. Continue with: photolog backfill placeholder --run second\n"
    assert {observer.count(photo, "requested") for photo in quick} == {0}
    _json(shared_system, "queues", "resume", "validation")
    observer.completed(waiting)
    done = _photolog(shared_system, "backfill", "placeholder", "--run", "second", "--ahead", "0")
    assert done.exit_code == 0, done.output
    observer.completed(quick, jobs=2)
    observer.completed(waiting, jobs=2)


def test_the_table_is_refreshed_until_ctrl_c(shared_system: System) -> None:
    with subprocess.Popen(
        [*PHOTOLOG, "queues", "--data", str(shared_system.data), "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        lines = iter(watch.stdout.readline, "")
        headings = list(islice((line for line in lines if line.startswith("Stage")), 2))
        watch.send_signal(signal.SIGINT)
        _, said = watch.communicate(timeout=DEADLINE_S)

    assert len(headings) == 2
    assert "Oldest" in headings[0]
    assert (watch.returncode, said) == (130, "")


def test_the_table_has_the_stages_and_the_workers(shared_system: System, upload: Upload) -> None:
    upload(1, "--wait")

    lines = _photolog(shared_system, "queues").stdout.splitlines()

    assert [line.split()[0] for line in lines[1:7]] == [
        *("validation", "metadata", "thumbnails", "optimization", "placeholder", "erasure")
    ]
    assert lines[7].startswith("The log's server uses ")
    assert lines[9].split()[:2] == ["Worker", "Doing"]
    assert "idle" in lines[10]


@pytest.mark.parametrize(
    "command",
    [
        ("queues",),
        ("queues", "pause", "metadata"),
        ("queues", "cancel", "metadata", "--yes", *REASON),
        ("dead-letters",),
        ("dead-letters", "retry", "--category", "data"),
        ("backfill", "metadata"),
    ],
)
def test_a_client_is_rejected(shared_system: System, command: tuple[str, ...]) -> None:
    shown = _photolog(shared_system, *command, "--role", "client")

    assert shown.exit_code == 1
    assert shown.stderr.startswith("Error: Only operators")
    assert "Continue with" not in shown.stderr


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (("queues", "pause", "faces"), 1, "Error: There is no stage"),
        (("queues", "pause", "faces"), 1, ", placeholder, erasure."),
        (("queues", "pause", "a/../b"), 1, "Error: This address does not exist"),
        (("queues", "cancel", "erasure", "--yes", *REASON), 1, "Error: There is no stage"),
        (("queues", "drain", "faces"), 1, "Error: There is no stage"),
        (("queues", "drain", "metadata"), 1, "Error: Nobody answered, so nothing was changed"),
        (("queues", "drain", "metadata", "--timeout", "soon"), 1, "'soon' is not a duration"),
        (("queues", "cancel", "metadata", *REASON), 1, "Nobody answered, so nothing was changed"),
        (("queues", "limit", "all", "--rate", "1"), 1, "Error: A rate limit applies to"),
        (("queues", "limit", "metadata"), 2, "Name --concurrency, --rate or both; or none"),
        (("queues", "limit", "metadata", "none", "--rate", "1"), 2, "Name a limit, or none."),
        (("queues", "limit", "metadata", "--rate", "fast"), 2, "'fast' is neither MAX"),
        (("queues", "limit", "metadata", "--concurrency", "-1"), 2, "'-1' is neither a number"),
        (("queues", "limit", "metadata", "--rate", "0/0"), 2, "'0/0' is neither MAX, MAX/MILL"),
        (("queues", "limit", "metadata", "--rate", "5/0"), 2, "MILLISECONDS from 1 to 3,600,000"),
        (("queues", "limit", "metadata", "--concurrency", "0"), 2, "a number from 1 to 1,000"),
        (("queues", "pauze"), 2, "No such command 'pauze'"),
        (("dead-letters", "retry"), 2, "Nothing is selected. Name photos"),
        (("dead-letters", "retry", "--all", "--stage", "metadata"), 2, "exclude each other"),
        (("dead-letters", "discard", "x", "--all", *REASON), 2, "exclude each other"),
        (("dead-letters", "discard", "--all"), 2, "Missing option '--reason'"),
        (("backfill", "faces"), 1, "Error: There is no stage"),
        (("backfill", "metadata", "--run", "a b"), 1, "Error: run: has characters or a length"),
    ],
)
def test_an_invalid_command_gets_an_error_of_one_line(
    shared_system: System, command: tuple[str, ...], status: int, said: str
) -> None:
    shown = _photolog(shared_system, *command)

    assert shown.exit_code == status
    assert said in shown.stderr
    assert "Traceback" not in shown.output


def test_workers_follow_the_retry_strategy_of_the_settings(data: Path, tmp_path: Path) -> None:
    strategy = "retryable=true attempts=2 base_s=0.1"
    picture = tmp_path / "broken.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"nonsense" * 20)

    with System(data, settings={"decoders": "1", "retry_data": strategy}) as system:
        _photolog(system, "upload", "--wait", str(picture))
        (letter,) = _dead(system)

    assert (letter["category"], letter["attempts"]) == ("data", 2)
