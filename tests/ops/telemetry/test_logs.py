import json
import logging
from collections.abc import Generator

import pytest

from ops.config.settings import Settings
from ops.telemetry import logs
from ops.telemetry.telemetry import Telemetry
from store import log_context
from store.log.log import Log
from store.log_context import Subject
from tests.conftest import CONTEXT
from tests.store.commands import upload

ABOUT = Subject(trace_id="t1", photo_id="p1", job_id="j1")


@pytest.fixture
def configured() -> Generator[None]:
    """Restore the logging of this process after the test."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before


def configure(log_format: str, level: str = "info") -> None:
    logs.configure(Settings(log_format=log_format, log_level=level), "worker-1")  # type: ignore[arg-type]


@pytest.mark.usefixtures("configured")
def test_a_json_line_has_the_ids_of_its_subject(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")

    logging.getLogger("photolog.worker").warning("%s waits", "it", extra={"subject": ABOUT})

    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "role": "worker-1",
        "logger": "photolog.worker",
        "message": "it waits",
        "photo": "p1",
        "job": "j1",
        "trace": "t1",
    }


@pytest.mark.usefixtures("configured")
def test_a_text_line_ends_with_the_ids(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text")

    logging.getLogger("photolog.worker").info("it waits", extra={"subject": ABOUT})

    line = capsys.readouterr().err
    assert line.endswith("worker-1   INFO    it waits photo=p1 job=j1 trace=t1\n")


@pytest.mark.usefixtures("configured")
async def test_without_a_subject_the_ids_are_those_of_the_running_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("json")
    log_context.begin(Subject(trace_id="t2", span_id="s2"))

    logging.getLogger("photolog.gateway").info("asked")

    line = json.loads(capsys.readouterr().err)
    assert line["trace"] == "t2"
    assert line.keys() & {"photo", "job"} == set()


@pytest.mark.usefixtures("configured")
async def test_an_appended_event_is_one_line(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    log.observe = Telemetry("worker").appended
    command = upload()

    await log.execute(command, client_id="alice", context=CONTEXT)

    [line] = [json.loads(each) for each in capsys.readouterr().err.splitlines()]
    assert (line["photo"], line["job"], line["trace"]) == (
        command.photo_id,
        command.job_id,
        CONTEXT.trace_id,
    )
    assert line["message"] == f"photo.uploaded: a.jpg, 3 bytes, image/jpeg, {command.key}"


@pytest.mark.usefixtures("configured")
async def test_by_default_events_are_not_logged(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("text", Settings().log_level)
    log.observe = Telemetry("worker").appended

    await log.execute(upload(), client_id="alice", context=CONTEXT)

    assert capsys.readouterr().err == ""


NOTED = {"kind": "sign-in-failed", "address": "192.0.2.7", "path": "/a b\x9b31m\u202e"}


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_security_log_is_written_whatever_the_level(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    configure(log_format, "error")

    logging.getLogger("photolog.security").info("sign-in-failed", extra={"fields": NOTED})

    line = capsys.readouterr().err.rstrip("\n")
    assert line.isprintable()
    if log_format == "json":
        assert json.loads(line) | NOTED == json.loads(line)
    else:
        assert 'sign-in-failed address=192.0.2.7 path="/a b\ufffd31m\ufffd"' in line


@pytest.mark.usefixtures("configured")
def test_a_message_cannot_look_like_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text")

    logging.getLogger("photolog.worker").warning("it\n12:00:00 worker-1 INFO all is well\x1b[2J")

    first, second = capsys.readouterr().err.rstrip("\n").split("\n")
    assert first.endswith("it")
    assert second.startswith("    ")
    assert "\x1b" not in second
