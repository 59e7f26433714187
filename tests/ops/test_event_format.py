import ast
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.photo.events import AnyEvent
from ops import event_format
from ops.event_format import Shown, plural, printable, printable_json, say, say_json, sized, what
from tests.store.log.test_codec import EVERY_EVENT


def line_of(kind: str, **data: Any) -> str:
    return what(Shown(id="0:1-0", type=kind, timestamp="", data=data, metadata={}))


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        ("pipeline.paused", {"stage": "metadata"}, "metadata"),
        ("pipeline.resumed", {"stage": None}, "all stages"),
        (
            "pipeline.cancelled",
            {"stage": None, "tasks": 1_200, "reason": "a bad batch"},
            "all stages, 1,200 tasks, a bad batch",
        ),
        (
            "pipeline.drained",
            {"stage": None, "tasks": 1_200, "reason": "a bad batch"},
            "all stages, 1,200 tasks, a bad batch",
        ),
        (
            "pipeline.limited",
            {
                "stage": "metadata",
                "limit": {"concurrency": 2, "rate": {"max": 10, "durationMs": 1000}},
            },
            "metadata, 2 at once, 10 in 1,000 ms",
        ),
        (
            "pipeline.limited",
            {"stage": "metadata", "limit": {"concurrency": None, "rate": None}},
            "metadata, no limit",
        ),
        (
            "client.quota.changed",
            {"clientId": "ann", "quota": {"photos": 500, "bytes": 20_000_000_000, "jobs": 0}},
            "client ann, photos 500, bytes 20 GB, jobs no limit",
        ),
        (
            "client.quota.changed",
            {"clientId": "ann", "quota": {"photos": None}, "reason": "a mistake"},
            "client ann, the limits of the settings, a mistake",
        ),
        (
            "pipeline.alerted",
            {"stage": "metadata", "level": "warn", "category": "resource", "error": "No room."},
            "metadata, warn, resource, No room.",
        ),
        (
            "photo.uploaded",
            {
                "originalFilename": "a.jpg",
                "fileSize": 1_200,
                "mimeType": "image/jpeg",
                "key": "originals/11/11",
            },
            "a.jpg, 1,200 bytes, image/jpeg, originals/11/11",
        ),
        (
            "photo.original.restored",
            {"cause": "altered", "fileSize": 3, "key": "originals/11/11"},
            "it was altered, 3 bytes, originals/11/11",
        ),
        (
            "photo.processing.discarded",
            {"photoId": "p", "reason": "a\nscreenshot"},
            "a\ufffdscreenshot",
        ),
        (
            "access.revoked",
            {"tokenId": "t1", "clientId": None, "before": None, "reason": "lost laptop"},
            "token t1, lost laptop",
        ),
        (
            "access.revoked",
            {"tokenId": None, "clientId": None, "before": "2026-11-23T10:00:00.000Z", "reason": ""},
            "tokens of everyone issued up to 2026-11-23T10:00:00.000Z",
        ),
        (
            "session.opened",
            {"clientId": "a", "sessionId": "trip", "expected": 1_200},
            "session trip, 1,200 photos expected",
        ),
        (
            "session.duplicate.found",
            {"sessionId": "trip", "upload": "1", "duplicateOf": "p", "originalFilename": "a.jpg"},
            "session trip, a.jpg, as photo p",
        ),
        ("session.closed", {"sessionId": "trip"}, "session trip"),
        (
            "session.completed",
            {
                "sessionId": "trip",
                "upto": "0:1-0",
                "totals": {
                    "received": 1_200,
                    "duplicates": 0,
                    "completed": 1_199,
                    "failed": 1,
                    "deleted": 0,
                    "expected": None,
                },
            },
            "session trip, 1,200 received, 1,199 completed, 1 failed",
        ),
        (
            "session.renamed",
            {"sessionId": "trip", "to": "tour"},
            "session trip, sessionId=trip, to=tour",
        ),
        ("pipeline.turned", {"stage": "metadata", "by": 90}, "stage=metadata, by=90"),
        (
            "log.recovered",
            {"epoch": 2, "events": 20, "ends": ["0:1-0"], "lost": ["a segment"], "reason": None},
            "epoch 2, 20 events, a segment",
        ),
        (
            "log.recovered",
            {"epoch": 3, "events": 1, "ends": ["1:1-0"], "partitions": [1, 2], "reason": None},
            "epoch 3, partitions 1 2, 1 event",
        ),
        ("projections.rebuild.requested", {"reason": "a new disk"}, "a new disk"),
        (
            "photo.turned",
            {"by": 90, "why": None, "files": ["a", "b"], "flat": False},
            'by=90, files=["a","b"], flat=false',
        ),
    ],
)
def test_an_event_is_one_line(kind: str, data: dict[str, Any], line: str) -> None:
    assert line_of(kind, **data) == line


@pytest.mark.parametrize("data", EVERY_EVENT, ids=lambda data: data.TYPE)
def test_no_event_is_shown_with_values_of_python(data: AnyEvent) -> None:
    fields = {**msgspec.to_builtins(data), "reason": None}

    line = line_of(type(data).TYPE, **fields)

    assert not re.search(r"[=, ](None|True|False)\b|\['|\{'|=", line)


TRICKS = [
    "\x1b[31m",  # an escape sequence
    "\x9b31m",  # the same, beginning with a C1 control character
    "\x9d0;title\x9c",
    "\x85",  # next line
    "\x7f",
    "\r",
    "\n",
    "\u2028",
    "\u2029",
    "\u202e",  # reverses the text
    "\u2066",
    "\u200b",  # is invisible
    "\ufeff",
    "\ud800",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_characters_that_control_a_terminal_are_replaced(trick: str) -> None:
    assert all(char.isprintable() for char in printable(f"a{trick}b"))
    assert printable(f"a{trick}b").startswith("a\ufffd")


def test_other_text_stays_as_it_is() -> None:
    text = "Grüße aus 東京 [red] 😀 a\u0301"

    assert printable(text) == text
    assert printable_json(msgspec.json.encode(text)) == f'"{text}"'


@pytest.mark.parametrize("trick", TRICKS[:-1])
def test_json_keeps_its_meaning_without_them(trick: str) -> None:
    document = printable_json(msgspec.json.encode({"name": trick}))

    assert document.isprintable()
    assert json.loads(document) == {"name": trick}


@pytest.mark.parametrize("trick", TRICKS[:-1])
def test_every_line_that_is_written_is_printable(
    capsys: pytest.CaptureFixture[str], trick: str
) -> None:
    say(f"one\ntwo {trick}")
    say(f"three {trick}", err=True)
    say_json(msgspec.json.encode([trick]))

    written = capsys.readouterr()
    for line in (written.out + written.err).splitlines():
        assert line.isprintable()


STYLED = {"config.py", "health.py"}
"""They style parts of a line, each of which is printable."""


def test_every_command_writes_through_these_functions() -> None:
    """Otherwise a file name could manipulate the terminal of an operator."""
    ops = Path(event_format.__file__).parent
    for path in [*ops.glob("*.py"), *ops.glob("*/*.py")]:
        if path.name == "event_format.py" or path.parent.name in ("bench", "deploy"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in ("click.echo", "click.secho"):
                assert path.name in STYLED, f"{path.name}:{node.lineno}"
            assert called not in ("print", "sys.stdout.write"), f"{path.name}:{node.lineno}"
            if called.endswith("console.print") and node.args:
                shown = ast.unparse(node)
                assert "markup=False" in shown or "table(" in shown or "shown" in shown, shown
            if called == "TextColumn":
                assert "markup=False" in ast.unparse(node), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_500, "1.5 kB"),
        (999_960, "1 MB"),
        (10_110_600_000, "10.1 GB"),
        (5e15, "5000 TB"),
    ],
)
def test_a_size_has_a_suitable_unit(size_bytes: float, said: str) -> None:
    assert sized(size_bytes) == said


def test_only_nouns_have_a_plural() -> None:
    said = [plural(*each) for each in ((1, "task"), (0, "task"), (1_200, "photo"), (2, "failed"))]

    assert said == ["1 task", "0 tasks", "1,200 photos", "2 failed"]
