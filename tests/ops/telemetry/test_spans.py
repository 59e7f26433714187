"""Traces of a real system, as a collector receives them."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import httpx
import pytest

from ops.telemetry.otlp import FLUSH_S, exporting
from ops.telemetry.spans import Span
from tests.ops.collector import Received, collecting
from tests.ops.systems import System, jpeg, wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
SENDER = "b7ad6b7169203331"
STAGES = {"validation", "metadata", "thumbnails", "placeholder", "optimization"}

SPAN = Span(
    name="append photo.uploaded",
    trace_id=TRACE,
    span_id="00f067aa0ba902b7",
    began_ns=1_795_300_000_000_000_000,
    seconds=0.25,
    attributes={"photolog.photo_id": "p", "photolog.events": 1},
)


def _processed(system: System) -> dict[str, str]:
    """Upload a photo in ``TRACE``, wait until it is processed, and return the answer's body."""
    with httpx.Client(base_url=system.url, headers=system.login()) as client:
        answer = client.post(
            "/api/photos/upload",
            files={"file": ("a.jpg", jpeg())},
            headers={"traceparent": f"00-{TRACE}-{SENDER}-01"},
        )
        assert answer.headers["X-Trace-Id"] == TRACE
        photo = answer.json()

        def ended() -> bool:
            found = client.get(
                f"/api/photos/{photo['photoId']}", params={"after": photo["position"]}
            )
            return found.json().get("processingStatus") == "completed"

        wait_until(ended, "the photo is processed")
        history = client.get(f"/api/photos/{photo['photoId']}/history").json()["items"]
    assert {event["metadata"]["traceId"] for event in history} == {TRACE}
    assert len(history) == 11
    return photo


def test_an_upload_and_all_that_follows_are_one_trace(data: Path) -> None:
    with collecting() as collector:
        settings = {
            "decoders": "1",
            "log_level": "info",
            "log_format": "json",
            "otlp_endpoint": collector.url,
        }
        with System(data, settings=settings) as system:
            photo = _processed(system)
            assert system.stop() == 0  # which sends the remaining spans
            output = system.log.read_text()

    spans = collector.trace(TRACE)
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    assert collector.paths == {"/v1/traces"}

    def named(name: str) -> Received:
        [found] = [span for span in spans if span.name == name]
        return found

    request, upload = named("POST /api/photos/upload"), named("append photo.uploaded")
    assert (request.parent_id, request.service) == (SENDER, "photolog-gateway")
    assert request.attributes["http.response.status_code"] == 201
    assert upload.parent_id == request.span_id
    assert upload.attributes["photolog.photo_id"] == photo["photoId"]
    assert request.began_ns <= upload.began_ns < upload.ended_ns <= request.ended_ns
    for stage in STAGES:
        run = named(f"stage {stage}")
        assert (run.parent_id, run.instance, run.failed) == (upload.span_id, "worker-1", False)
    appends = [span for span in spans if span.name.startswith("append photo.processing.")]
    assert {by_id[span.parent_id].name for span in appends} == {
        f"stage {stage}" for stage in STAGES - {"thumbnails"}
    }
    commits = [span for span in spans if span.name == "project"]
    assert {(span.parent_id, span.service) for span in commits} == {
        (upload.span_id, "photolog-projector")
    }
    assert not [span for span in collector.received if "/health" in span.name]

    lines = [json.loads(line) for line in output.splitlines()]
    of_photo = [line for line in lines if line.get("photo") == photo["photoId"]]
    assert {line["trace"] for line in of_photo} == {TRACE}
    assert {line["role"] for line in of_photo} == {"gateway", "worker-1"}
    assert len(of_photo) == 11


async def test_a_span_arrives_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "HTTP_PROXY", "http://127.0.0.1:9"
    )  # nothing listens there, and it must not be used
    with collecting() as collector:
        async with exporting(f"{collector.url}/", "worker", "worker-1") as send:
            send(SPAN)

    assert collector.received == [
        Received(
            service="photolog-worker",
            instance="worker-1",
            name="append photo.uploaded",
            trace_id=TRACE,
            span_id="00f067aa0ba902b7",
            parent_id="",
            began_ns=1_795_300_000_000_000_000,
            ended_ns=1_795_300_000_250_000_000,
            failed=False,
            attributes={"photolog.photo_id": "p", "photolog.events": 1},
        )
    ]


async def test_spans_of_a_role_that_is_cancelled_are_sent() -> None:
    """The projector ends by cancellation."""
    with collecting() as collector:
        collector.takes_s = 0.5  # otherwise the spans would arrive even without the flush
        with anyio.CancelScope() as scope:
            async with exporting(collector.url, "projector", "projector") as send:
                send(SPAN)
                scope.cancel()
                await anyio.sleep_forever()

        assert [span.name for span in collector.received] == [SPAN.name]


async def test_an_unavailable_collector_is_logged_once_and_blocks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        began = time.monotonic()
        async with exporting("http://127.0.0.1:9", "worker", "worker-1") as send:
            for _ in range(3_000):
                send(SPAN)

    assert time.monotonic() - began < FLUSH_S + 5
    assert {record.name for record in caplog.records} <= {"photolog.traces"}
    assert len(caplog.records) <= 1
    wait_until(lambda: not _senders(), "its thread has ended")


def _senders() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("Otel")]


async def test_a_rejecting_collector_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with collecting() as collector, caplog.at_level(logging.INFO):
        collector.status = 400
        async with exporting(collector.url, "worker", "worker-1") as send:
            for _ in range(1_500):
                send(SPAN)

    assert [record.getMessage() for record in caplog.records] == [
        "the collector does not accept spans: they are lost"
    ]


def test_without_a_collector_nothing_is_imported_that_would_send_spans() -> None:
    """redis-py imports parts of OpenTelemetry itself if it is installed."""
    code = """
import anyio, sys
from ops.runtime import roles, wiring
from ops.config.settings import Settings

async def main():
    async with wiring.open_telemetry(Settings(), "worker", "worker-1"):
        senders = ("ops.telemetry.otlp", "opentelemetry.sdk.trace", "opentelemetry.exporter")
        print([name for name in sys.modules if name.startswith((*senders, "requests"))])

anyio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a_collector_without_opentelemetry_is_an_error_that_says_what_to_install(
    data: Path,
) -> None:
    code = f"""
import sys
sys.modules["opentelemetry"] = None
from ops.cli.main import main
main(["worker", "--data", {str(data)!r}])
"""
    environment = os.environ | {"PHOTOLOG_OTLP_ENDPOINT": "http://127.0.0.1:9"}

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )

    assert done.returncode == 1
    assert "PHOTOLOG_OTLP_ENDPOINT needs OpenTelemetry: install photolog[otel]" in done.stderr
    assert "Traceback" not in done.stderr
