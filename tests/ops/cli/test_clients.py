"""Commands that call a running system."""

import json
import os
import queue
import re
import signal
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from domain.photo.formats import SUPPORTED
from ops.client.client import Problem
from tests.ops.systems import DEADLINE_S, PHOTOLOG, System, jpeg, run, wait_until
from tests.servers import valkey


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Problem(title="Not here"), "Not here"),
        (Problem(title="Not here", advice="Look there."), "Not here. Look there."),
        (
            Problem(title="No", detail="limit: not an int", advice="Fix it."),
            "limit: not an int. Fix it.",
        ),
        (Problem(title="No", detail="It is gone.", advice="Go on."), "It is gone. Go on."),
        (Problem(title="Who is asking?", advice="Say so."), "Who is asking? Say so."),
        (Problem(title="No", status=404, detail="It is gone.", trace_id="4bf9"), "It is gone."),
        (
            Problem(title="No", status=500, detail="Oh.", advice="Report it.", trace_id="4bf9"),
            "Oh. Report it. (traceId 4bf9)",
        ),
    ],
)
def test_a_problem_is_shown_in_sentences(problem: Problem, said: str) -> None:
    assert str(problem) == said


def test_the_trace_of_a_problem_is_read_from_its_document() -> None:
    document = {"title": "Our mistake", "status": 500, "traceId": "4bf9"}

    problem = Problem.of(httpx.Response(500, json=document))

    assert str(problem) == "Our mistake (traceId 4bf9)"


class Watch:
    """``photolog watch`` in its own process, which has entered its room."""

    def __init__(self, system: System, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*PHOTOLOG, "watch", "--data", str(system.data), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.began = self.process.stderr.readline()
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def next_line(self) -> str:
        return self._lines.get(timeout=DEADLINE_S)

    def next_events(self, last: str) -> list[dict[str, Any]]:
        """Return the events up to one of the type ``last``."""
        events: list[dict[str, Any]] = []
        while not events or events[-1]["type"] != last:
            events.append(json.loads(self.next_line()))
        return events

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C; return the exit status and the standard error."""
        self.process.send_signal(signal.SIGINT)
        self._reader.join(DEADLINE_S)
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        said = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.wait(DEADLINE_S), said

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two photos that differ from all others, a text and a hidden file."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "sub" / "b.jpg").write_bytes(jpeg())
    (tmp_path / "notes.txt").write_text("not a photo")
    (tmp_path / ".DS_Store").write_text("hidden")
    return tmp_path


def _photolog(system: System, *arguments: str) -> Result:
    return run("--data", str(system.data), *arguments)


def _upload(system: System, *arguments: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in _photolog(system, "upload", "--json", *arguments).stdout.splitlines()
    ]


def test_a_folder_is_uploaded_and_what_is_not_a_photo_is_told(
    shared_system: System, folder: Path
) -> None:
    whole = jpeg((400, 300))
    (folder / "sub" / "cut.jpg").write_bytes(whole[: len(whole) // 2])

    named = (str(folder), str(folder / "notes.txt"))
    first = _photolog(shared_system, "upload", "--wait", "--verbose", *named)
    second = _photolog(shared_system, "upload", str(folder / "a.jpg"))

    photos = first.stdout.splitlines()
    refusal, skipped, counted = first.stderr.splitlines()
    ids = {line.partition("  ")[2]: line.partition("  ")[0] for line in photos}
    assert first.exit_code == 1
    assert counted == "1 failed, 3 processed, 1 of them damaged; 1 hidden skipped"
    assert skipped == "skipped, because they are not photos: 1 .txt"
    names = ("a.jpg", "sub/b.jpg", "sub/cut.jpg  (damaged)")
    assert set(ids) == {f"{folder}/{name}" for name in names}
    assert refusal == (
        f"{folder}/notes.txt: The file is in none of the supported formats: {SUPPORTED}. "
        "Convert the photo to one of these formats."
    )
    same = ids[f"{folder}/a.jpg"]
    assert (second.exit_code, second.stdout) == (0, f"{same}\n")
    assert second.stderr == "1 duplicate\n"


def test_json_has_one_line_for_each_file(shared_system: System, folder: Path) -> None:
    lines = {
        Path(line["path"]).name: line
        for line in _upload(shared_system, "--wait", str(folder), str(folder / "notes.txt"))
    }

    assert set(lines) == {"a.jpg", "b.jpg", "notes.txt"}
    assert lines["a.jpg"]["status"] == "completed"
    assert lines["a.jpg"]["photoId"]
    assert lines["notes.txt"]["code"] == "unsupported-type"


def test_session_and_pipeline_reach_the_server(shared_system: System, folder: Path) -> None:
    path = str(folder / "a.jpg")
    wrong = _upload(shared_system, "--pipeline", "no_such", path)
    right = _upload(shared_system, "--session", "trip", "--pipeline", "quick_processing", path)

    assert wrong[0]["code"] == "unknown-pipeline"
    history = _photolog(shared_system, "history", "--json", right[0]["photoId"]).stdout
    event = json.loads(history.splitlines()[0])
    assert event["data"]["pipeline"] == "quick_processing"
    assert event["metadata"]["sessionId"] == "trip"


def test_uploads_survive_a_gateway_that_is_killed(shared_system: System, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg())
    options = ("--data", str(shared_system.data), "--json", "--pipeline", "quick_processing")
    upload = subprocess.Popen(
        [*PHOTOLOG, "upload", *options, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert upload.stdout is not None
    first = upload.stdout.readline()

    os.kill(shared_system.pid_of("gateway") or 0, signal.SIGKILL)

    lines = [json.loads(line) for line in (first, *upload.stdout)]
    upload.stdout.close()
    assert upload.wait(DEADLINE_S) == 0
    assert len({line["photoId"] for line in lines}) == 30


def test_upload_shows_why_it_waits_and_gives_up_in_time(
    data: Path, own_folder: Path, folder: Path
) -> None:
    photo = str(folder / "a.jpg")
    with ExitStack() as redis:
        url = redis.enter_context(valkey(own_folder))
        # The first answer comes soon, and asks for a pause that is much shorter than the time-out.
        settings = {"redis_url": url, "append_patience_s": "0.5", "breaker_open_s": "1"}
        with System(data, "--workers", "0", settings=settings) as system:
            redis.close()

            waiting = _first_complaint("upload", "--data", str(system.data), photo)
            ended = _photolog(system, "upload", "--wait-timeout", "0.1", photo)

    assert re.fullmatch(r"waiting: .+ \(log-unavailable\)\n", waiting)
    assert ended.exit_code == 1
    assert ended.stderr.endswith("\n1 failed\n")


def _first_complaint(*words: str) -> str:
    """Run a command until it writes its first line to the standard error output."""
    with subprocess.Popen([*PHOTOLOG, *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.kill()
    return line


def test_history_shows_all_events(shared_system: System, folder: Path) -> None:
    photo = _upload(shared_system, "--wait", str(folder / "a.jpg"))[0]["photoId"]

    told = _photolog(shared_system, "history", photo).stdout.splitlines()

    assert told[0].split() == ["Time", "(UTC)", "Event", "By", "What"]
    assert "photo.uploaded" in told[1]
    assert "client:local" in told[1]
    assert "a.jpg" in told[1]
    assert "photo.processing.completed" in told[-1]


def test_history_of_an_unknown_photo_shows_the_problem_of_the_server(
    shared_system: System,
) -> None:
    shown = _photolog(shared_system, "history", "nope")

    assert shown.exit_code == 1
    assert shown.stderr.startswith("Error: There is no photo nope. Check the id")


def test_an_operator_sees_the_history_of_another_client(
    shared_system: System, folder: Path
) -> None:
    path = str(folder / "a.jpg")
    photo = _upload(shared_system, "--client", "alice", "--wait", path)[0]["photoId"]

    assert _photolog(shared_system, "history", photo).exit_code == 1
    assert _photolog(shared_system, "history", "--role", "operator", photo).exit_code == 0


def test_health_shows_every_check(shared_system: System) -> None:
    def checks() -> dict[str, Any]:
        return json.loads(_photolog(shared_system, "health", "--json").stdout)["checks"]

    wait_until(lambda: checks()["workerPool"]["status"] == "ok", "the worker has reported")
    told = _photolog(shared_system, "health")

    assert told.exit_code == 0
    said = told.stdout.splitlines()
    assert said[0].split()[0] in ("ok", "degraded")  # the machine may be degraded
    patterns = (
        r"  redis             ok        done in [\d.]+ ms, [\d.]+ MB of memory in use, of .+ [MG]B",
        r"  blobs             \w+ +done in [\d.]+ ms, [\d.]+ [GT]B free",
        r"  sqlite            ok        has all events, file intact",
        r"  system resources  \w+ +\d+ % of memory in use, load of [\d.]+ a processor",
        r"  worker pool       ok        1 alive(, sandbox needs no action: .+)?",
    )
    for line, pattern in zip(said[1:6], patterns, strict=True):
        assert re.fullmatch(pattern, line), line
    assert [line[2:20].strip() for line in said[6:]] == [
        *("rooms", "background", "connections", "webhooks", "archive", "libraries")
    ]


def test_the_gateway_accepts_a_token_of_the_command_line(shared_system: System) -> None:
    token = _photolog(shared_system, "token", "--client", "alice").stdout.strip()

    answer = httpx.get(
        f"{shared_system.url}/api/photos", headers={"Authorization": f"Bearer {token}"}
    )

    assert answer.status_code == 200


def test_watch_resumes_after_a_lost_connection_without_gap_or_duplicate(
    shared_system: System, folder: Path
) -> None:
    watch = Watch(shared_system, "--json")
    _upload(shared_system, "--wait", str(folder / "a.jpg"))
    before = watch.next_events("photo.processing.completed")

    os.kill(shared_system.pid_of("gateway") or 0, signal.SIGKILL)
    _upload(shared_system, "--wait", str(folder / "sub"))
    after = watch.next_events("photo.processing.completed")
    status, said = watch.stop()

    assert before[0]["type"] == "photo.uploaded"
    assert after[0]["type"] == "photo.uploaded"
    for events in (before, after):
        versions = [event["metadata"]["photoVersion"] for event in events]
        assert versions == list(range(1, len(events) + 1))
    lost, again = said.splitlines()
    assert watch.began.startswith("Watching client from 0:")
    assert (status, lost) == (130, "The connection was lost; reconnecting …")
    assert again == f"Watching client from {before[-1]['id']}"


def test_watch_names_the_photos_whose_upload_it_has_seen(
    shared_system: System, folder: Path
) -> None:
    watch = Watch(shared_system)

    _upload(shared_system, "--wait", str(folder / "a.jpg"))
    uploaded, started = watch.next_line(), watch.next_line()
    watch.stop()

    assert "photo.uploaded" in uploaded
    assert "  a.jpg, " in uploaded
    assert "photo.processing.started" in started
    assert started.endswith("  a.jpg, full_processing\n")


def test_a_forbidden_room_shows_the_problem_of_the_server(shared_system: System) -> None:
    shown = _photolog(shared_system, "watch", "global")

    assert shown.exit_code == 1
    assert shown.stderr.startswith("Error: Only operators and auditors")


def test_reconcile_reports_missing_files_with_status_1(shared_system: System, folder: Path) -> None:
    photo = _upload(shared_system, "--wait", str(folder / "a.jpg"))[0]["photoId"]
    well = _photolog(shared_system, "reconcile")
    originals = (shared_system.data / "blobs").glob("originals/*/*")
    original = max(originals, key=lambda path: path.stat().st_mtime_ns)
    original.rename(folder / "original")

    ill = _photolog(shared_system, "reconcile")

    (folder / "original").rename(original)
    assert (well.exit_code, ill.exit_code) == (0, 1)
    assert " 0 of them missing, 0 of another size; 0 unnamed, 0 orphaned, 0 drafts" in well.stdout
    key = f"originals/{original.parent.name}/{original.name}"
    assert f"missing  {key}  of photo {photo}\n" in ill.stdout


def test_reconcile_leaves_young_files_and_removes_old_ones(shared_system: System) -> None:
    stray = shared_system.data / "blobs" / "renditions" / "00" / "stray"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"nobody knows me")

    young = _photolog(shared_system, "reconcile", "--remove")
    os.utime(stray, (0, 0))
    told = _photolog(shared_system, "reconcile")
    assert stray.exists()
    removed = _photolog(shared_system, "reconcile", "--remove")

    assert told.exit_code == 1
    assert "renditions/00/stray" not in young.stdout
    assert "unnamed  renditions/00/stray  15 bytes\n" in told.stdout
    assert "removed  renditions/00/stray  15 bytes\n" in removed.stdout
    assert not stray.exists()


def test_verify_checks_all_photos_or_one_and_compares_with_a_noted_position(
    shared_system: System, folder: Path
) -> None:
    photo = _upload(shared_system, "--wait", str(folder / "a.jpg"))[0]["photoId"]

    noted = json.loads(_photolog(shared_system, "verify", "--json").stdout)
    _upload(shared_system, "--wait", str(folder / "sub"))
    again = _photolog(shared_system, "verify", "--upto", ",".join(noted["positions"]))
    one = _photolog(shared_system, "verify", photo)
    none = _photolog(shared_system, "verify", "nope")
    nowhere = _photolog(shared_system, "verify", "--upto", "7:1-0")

    assert noted["breaks"] == []
    assert again.exit_code == 0
    assert "all intact" in again.stdout
    assert f"anchor {noted['anchor']}  up to {noted['positions'][0]}\n" in again.stdout
    assert one.stdout.startswith("1 photo, 11 events: all intact\n")
    assert (none.exit_code, none.stderr) == (2, "Error: The log has no event of a photo nope\n")
    assert nowhere.stderr == "Error: --upto: name one position in each of 1 partition\n"


def test_projections_are_listed_rebuilt_and_verified(shared_system: System, folder: Path) -> None:
    _upload(shared_system, "--wait", str(folder / "a.jpg"))

    listed = json.loads(_photolog(shared_system, "projections", "list", "--json").stdout)
    rebuilt = _photolog(shared_system, "projections", "rebuild")
    verified = _photolog(shared_system, "projections", "verify")

    assert {"table": "photos", "rows": listed["tables"][0]["rows"]} in listed["tables"]
    assert listed["partitions"][0]["lagMs"] < DEADLINE_S * 1000
    assert rebuilt.exit_code == 0, rebuilt.stderr
    assert "events in" in rebuilt.stdout
    assert verified.exit_code == 0, verified.stdout + verified.stderr
