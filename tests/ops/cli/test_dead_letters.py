"""Operators list, retry and discard what has failed for good."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest
from click.testing import CliRunner

from ops.cli.main import main
from tests.ops.cli.operating import REASON, Steer, Upload, answer_of, dead_letters, told_by
from tests.ops.observer import Observer
from tests.ops.systems import DEADLINE_S, PHOTOLOG, System, photolog, wait_until


def test_cancelled_jobs_are_listed_with_their_reason_and_completed_by_a_retry(
    steered_system: System, observer: Observer, cancelled: Callable[[int], list[str]]
) -> None:
    photos = cancelled(3)

    letters = dead_letters(steered_system, "--category", "configuration", "--stage", "validation")
    told = told_by(steered_system, "dead-letters").stdout
    answer = answer_of(steered_system, "dead-letters", "retry", "--category", "configuration")

    assert {each["photoId"] for each in letters} == set(photos)
    assert {(each["code"], each["error"]) for each in letters} == {("cancelled", "a bad batch")}
    assert told.splitlines()[0].startswith("Photo ")
    assert "cancelled: a bad batch" in told
    assert answer == {"retried": 3, "skipped": []}
    observer.completed(photos)
    assert dead_letters(steered_system) == []
    end = next(e for e in observer.history(photos[0]) if e["type"].endswith(".failed"))
    assert end["metadata"]["actor"] == "operator:local"


def test_two_operators_who_retry_concurrently_start_each_job_once(
    steered_system: System, observer: Observer, cancelled: Callable[[int], list[str]]
) -> None:
    photos = cancelled(10)

    with ThreadPoolExecutor(2) as operators:
        command = ("dead-letters", "retry", "--data", str(steered_system.data), "--owner", "local")
        futures = [operators.submit(photolog, *command) for _ in range(2)]
        answers = [future.result() for future in futures]

    assert [each.returncode for each in answers] == [0, 0], answers
    observer.completed(photos)
    assert {observer.count(photo, "requested") for photo in photos} == {1}


def test_the_exit_status_is_1_if_a_named_photo_is_skipped(
    steered_system: System, upload: Upload
) -> None:
    (photo,) = upload(1, "--wait")

    shown = told_by(steered_system, "dead-letters", "retry", photo)

    assert shown.exit_code == 1
    assert shown.stdout == "0 retried, 1 skipped\n"
    why = "its last job has not failed, or its failure was discarded (nothing-failed)"
    assert shown.stderr == f"{photo}: {why}\n"


@pytest.mark.parametrize("what", [("retry",), ("discard", *REASON)])
def test_without_dead_letters_nobody_is_asked(
    steered_system: System, what: tuple[str, ...]
) -> None:
    for selected in (["--all"], ["--owner", "nobody", "--yes"]):
        shown = told_by(steered_system, "dead-letters", *what, *selected)

        assert (shown.exit_code, shown.output) == (0, "There are no such dead letters.\n")


def test_a_session_without_failures_has_nothing_to_retry_and_the_others_are_counted(
    steered_system: System, steer: Steer, upload: Upload, observer: Observer
) -> None:
    steer("pause", "validation")
    discarded, _ = upload(2, "--session", "trip")
    observer.waiting(2)
    before = told_by(steered_system, "sessions", "retry", "trip").stdout
    answer_of(steered_system, "queues", "cancel", "validation", "--yes", *REASON)
    answer_of(steered_system, "queues", "resume", "validation")
    answer_of(steered_system, "dead-letters", "discard", discarded, "--yes", *REASON)
    wait_until(
        lambda: "2 failed" in told_by(steered_system, "sessions", "show", "trip").stdout,
        "both have failed",
    )
    after = told_by(steered_system, "sessions", "retry", "trip").stdout

    assert before == "There is nothing to retry: no photo of this session has failed.\n"
    why = "its last job has not failed, or its failure was discarded (nothing-failed)"
    assert after == f"1 retried, 1 skipped: {why}\n"


def test_all_are_discarded_only_after_a_confirmation(
    steered_system: System, observer: Observer, cancelled: Callable[[int], list[str]]
) -> None:
    (photo,) = cancelled(1)
    discard = ["--data", str(steered_system.data), "dead-letters", "discard", "--all", *REASON]

    unsure = CliRunner().invoke(main, discard, input="n\n")
    assert [each["photoId"] for each in dead_letters(steered_system)] == [photo]
    sure = CliRunner().invoke(main, [*discard, "--yes"])

    assert unsure.exit_code == 1
    assert unsure.output.startswith("Discard 1 dead letter? [y/N]: ")
    assert sure.output == "1 discarded\n"
    assert dead_letters(steered_system) == []
    assert told_by(steered_system, "dead-letters").stdout == "There are no dead letters.\n"
    last = observer.history(photo)[-1]
    assert (last["type"], last["data"]["reason"]) == ("photo.processing.discarded", "a bad batch")


def test_a_dead_letter_that_is_named_is_discarded_only_after_a_confirmation(
    steered_system: System,
) -> None:
    shown = told_by(steered_system, "dead-letters", "discard", "nope", *REASON)

    assert shown.exit_code == 1
    assert "Discard 1 dead letter?" in shown.stderr
    assert "confirm with --yes" in shown.stderr


def test_a_retry_of_unreadable_photos_says_that_it_will_fail_again(
    steered_system: System, tmp_path: Path
) -> None:
    picture = tmp_path / "broken.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + uuid.uuid4().bytes)
    sent = told_by(steered_system, "upload", "--wait", "--json", str(picture))
    photo = json.loads(sent.stdout.splitlines()[0])["photoId"]
    (letter,) = dead_letters(steered_system)
    headings = told_by(steered_system, "dead-letters").stdout.splitlines()[0]

    unsure = told_by(steered_system, "dead-letters", "retry", "--all")
    other = told_by(steered_system, "dead-letters", "retry", "--category", "temporary")
    named = told_by(steered_system, "dead-letters", "retry", photo)
    wait_until(lambda: bool(dead_letters(steered_system)), "it has failed again")
    told_by(steered_system, "dead-letters", "discard", photo, "--yes", *REASON)

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
    steered_system: System, cancelled: Callable[[int], list[str]]
) -> None:
    cancelled(2)
    command = [*PHOTOLOG, "dead-letters", "--data", str(steered_system.data), "discard", "--all"]
    terminal, side = os.openpty()
    with (
        os.fdopen(terminal, "rb", buffering=0) as screen,
        subprocess.Popen(
            [*command, "--yes", *REASON], stdout=subprocess.PIPE, stderr=side
        ) as discard,
    ):
        os.close(side)
        shown = b"".join(iter(lambda: _read(screen), b""))
        said, _ = discard.communicate(timeout=DEADLINE_S)

    assert b"2/2" in shown
    assert said == b"2 discarded\n"


def _read(screen: BinaryIO) -> bytes:
    """Return what the terminal shows next; nothing once no process has it open."""
    try:
        return screen.read(4096)
    except OSError:  # EIO
        return b""
