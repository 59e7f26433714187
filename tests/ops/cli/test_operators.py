"""Commands of operators, on a running system."""

import signal
import subprocess
from itertools import islice
from pathlib import Path

import pytest

from store.log.position import Position
from tests.ops.cli.operating import REASON, Steer, Upload, answer_of, dead_letters, told_by
from tests.ops.observer import Observer
from tests.ops.systems import DEADLINE_S, PHOTOLOG, System, wait_until


def test_a_paused_stage_starts_no_task_and_completes_all_after_resume(
    steered_system: System, upload: Upload, observer: Observer, steer: Steer
) -> None:
    steer("pause", "validation")
    photos = upload(3)
    observer.waiting(3)
    shown = told_by(steered_system, "queues").stdout

    resumed = answer_of(steered_system, "queues", "resume", "validation")["position"]

    observer.completed(photos)
    line = next(line for line in shown.splitlines() if line.startswith("validation"))
    assert line.split()[:4] == ["validation", "0", "3", "0"]
    assert line.rstrip().endswith("paused")
    for photo in photos:
        first, second, *_ = observer.history(photo)
        assert first["type"] == "photo.uploaded"
        assert Position.parse(second["id"]) > Position.parse(resumed)


def test_a_rate_delays_tasks_until_it_is_removed(
    steered_system: System, upload: Upload, observer: Observer, steer: Steer
) -> None:
    steer("limit", "validation", "--rate", "1/3600000", "--concurrency", "1")
    shown = told_by(steered_system, "queues").stdout
    photos = upload(3)
    observer.waiting(2)
    kept = answer_of(steered_system, "queues", "limit", "validation", "--concurrency", "none")

    lifted = answer_of(steered_system, "queues", "limit", "validation", "--rate", "none")

    observer.completed(photos)
    assert "1 at once, 1 in 3,600,000 ms" in shown
    steer("limit", "validation", "--rate", "9/1000", "--concurrency", "5")
    freed = answer_of(steered_system, "queues", "limit", "validation", "none")
    assert kept["limit"] == {"concurrency": None, "rate": {"max": 1, "durationMs": 3_600_000}}
    assert lifted["limit"] == freed["limit"] == {"concurrency": None, "rate": None}

    def audited() -> bool:
        newest = ("--what", "pipeline.limited", "--limit", "2")
        told = told_by(steered_system, "audit", *newest).stdout
        return "validation, no limit" in told and "validation, 5 at once, 9 in 1,000 ms" in told

    wait_until(audited, "the audit list has both limits")


def test_the_table_is_refreshed_until_ctrl_c(steered_system: System) -> None:
    with subprocess.Popen(
        [*PHOTOLOG, "queues", "--data", str(steered_system.data), "--watch"],
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


def test_the_table_has_the_stages_and_the_workers(steered_system: System, upload: Upload) -> None:
    upload(1, "--wait")

    def table() -> list[str]:
        return told_by(steered_system, "queues").stdout.splitlines()

    wait_until(lambda: "idle" in table()[10], "the worker has put its task away")
    lines = table()
    assert [line.split()[0] for line in lines[1:7]] == [
        *("validation", "metadata", "thumbnails", "optimization", "placeholder", "erasure")
    ]
    assert lines[7].startswith("The log's server uses ")
    assert lines[9].split()[:2] == ["Worker", "Doing"]


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
def test_a_client_is_rejected(steered_system: System, command: tuple[str, ...]) -> None:
    shown = told_by(steered_system, *command, "--role", "client")

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
    steered_system: System, command: tuple[str, ...], status: int, said: str
) -> None:
    shown = told_by(steered_system, *command)

    assert shown.exit_code == status
    assert said in shown.stderr
    assert "Traceback" not in shown.output


def test_workers_follow_the_retry_strategy_of_the_settings(data: Path, tmp_path: Path) -> None:
    strategy = "retryable=true attempts=2 base_s=0.1"
    picture = tmp_path / "broken.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"nonsense" * 20)

    with System(data, settings={"decoders": "1", "retry_data": strategy}) as system:
        told_by(system, "upload", "--wait", str(picture))
        (letter,) = dead_letters(system)

    assert (letter["category"], letter["attempts"]) == ("data", 2)
