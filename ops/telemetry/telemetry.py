"""Turn the work of one process into metrics, log lines and spans.

The packages below report what happened to callbacks, which are the methods of a ``Telemetry``. It
counts (``ops.telemetry.metrics``), writes one log line for each event that this process has
appended, and makes spans (``ops.telemetry.spans``).
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from domain.photo.events import Event, PhotoDeleted, PhotoUploaded, ProcessingRequested, StageFailed
from gateway.observing import Answered, Look
from handlers.worker.observing import StageRun
from ops.event_format import Shown, what
from ops.telemetry import gauges
from ops.telemetry.metrics import Metrics, Role, Samples
from ops.telemetry.spans import Span, Spans, work_span_id
from store import log_context
from store.background import Background
from store.log_context import Subject
from store.observing import ObservedAppend

if TYPE_CHECKING:
    from projections.projector import Committed
    from store.archive.archiver import Passed

logger = logging.getLogger("photolog.events")


WATCHED_BY_MACHINES = ("/health", "/metrics")
"""Routes that machines request every few seconds: their spans would bury the others."""


class Telemetry:
    """The telemetry of one process. ``spans`` receives every span that ends; if None, none is made.

    ``background`` runs the long-running tasks of the process.
    """

    def __init__(self, role: Role, spans: Spans | None = None) -> None:
        self.metrics = Metrics(role)
        self.background = Background(self.background_failed)
        self.spans = spans
        self._look: Callable[[], Mapping[str, Samples]] = dict

    def operated(self, operation: str, outcome: str, seconds: float) -> None:
        self.metrics.count("storage_operations_total", operation, outcome)
        self.metrics.add("storage_operation_duration_ms", seconds * 1000, operation)

    def appended(self, appended: ObservedAppend) -> None:
        for event in appended.events:
            self.metrics.count("events_published_total", event.type)
            if isinstance(event.data, StageFailed):
                self.metrics.count("job_failures_total", event.data.stage, event.data.category)
            _log_event(event)
        if self.spans is None:
            return
        first = appended.events[0]
        work = [_work_of(event) for event in appended.events if _creates_work(event)]
        self.spans(
            Span(
                name=f"append {first.type}",
                trace_id=first.metadata.trace_id,
                span_id=work_span_id(work[0]) if work else secrets.token_hex(8),
                parent_id=log_context.current().span_id,
                began_ns=appended.began_ns,
                seconds=appended.seconds,
                attributes=_ids(first) | {"photolog.events": len(appended.events)},
            )
        )

    def background_failed(self, task: str) -> None:
        self.metrics.count("photolog_background_failures_total", task)

    def answered(self, answered: Answered) -> None:
        method, route, status = answered.method, answered.route, answered.status
        self.metrics.count("photolog_http_requests_total", method, route, str(status))
        self.metrics.add("photolog_http_answer_seconds", answered.seconds, method, route)
        if self.spans is None or route.startswith(WATCHED_BY_MACHINES):
            return
        self.spans(
            Span(
                name=f"{method} {route}".rstrip(),
                kind="server",
                trace_id=answered.trace.trace_id,
                span_id=answered.trace.span_id,
                parent_id=answered.trace.parent_id,
                began_ns=answered.began_ns,
                seconds=answered.seconds,
                attributes={
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": status,
                },
                failed=status >= 500,
            )
        )

    def limited(self, policy: str) -> None:
        self.metrics.count("photolog_rate_limited_total", policy)

    def ran(self, run: StageRun) -> None:
        task = run.task
        duration_ms = run.seconds * 1000
        self.metrics.add("job_processing_duration_ms", duration_ms, task.stage, run.outcome)
        if self.spans is None:
            return
        self.spans(
            Span(
                name=f"stage {task.stage}",
                kind="consumer",
                trace_id=task.trace_id,
                span_id=run.span_id,
                parent_id=work_span_id(task.job_id or task.photo_id),
                began_ns=run.began_ns,
                seconds=run.seconds,
                attributes={
                    "photolog.photo_id": task.photo_id,
                    "photolog.job_id": task.job_id,
                    "photolog.attempt": task.attempt,
                    "photolog.outcome": run.outcome,
                },
                failed=run.outcome != "completed",
            )
        )

    def attempted(self, outcome: str, seconds: float) -> None:
        self.metrics.count("photolog_webhook_attempts_total", outcome)
        self.metrics.add("photolog_webhook_attempt_seconds", seconds)

    def committed(self, committed: "Committed") -> None:
        count = len(committed.recorded)
        self.metrics.count("photolog_projector_events_total", by=count)
        self.metrics.add("photolog_projector_commit_seconds", committed.seconds)
        if self.spans is None:
            return
        firsts = {each.event.metadata.trace_id: each.event for each in reversed(committed.recorded)}
        for trace_id, event in firsts.items():
            self.spans(
                Span(
                    name="project",
                    kind="consumer",
                    trace_id=trace_id,
                    span_id=secrets.token_hex(8),
                    parent_id=work_span_id(_work_of(event)),
                    began_ns=committed.began_ns,
                    seconds=committed.seconds,
                    attributes=_ids(event) | {"photolog.events": count},
                )
            )

    def archived(self, passed: "Passed") -> None:
        sealed = sum(head.entries for head in passed.sealed)
        if sealed:
            self.metrics.count("photolog_archived_events_total", by=sealed)
        if passed.trimmed:
            self.metrics.count("photolog_trimmed_events_total", by=passed.trimmed)
        if passed.evicted:
            self.metrics.count("photolog_evicted_states_total", by=passed.evicted)

    def watch(self, look: Callable[[], Mapping[str, Samples]]) -> None:
        """Add the samples that ``look`` returns to ``exposition``."""
        self._look = look

    def exposition(self) -> bytes:
        """Return all metrics of a role in Prometheus' text format."""
        return self.metrics.exposition(self._look())

    def gateway_exposition(self, look: Look) -> bytes:
        """Return all metrics of a gateway in Prometheus' text format."""
        return self.metrics.exposition(gauges.of_gateway(look))


def _log_event(event: Event) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    shown = Shown(
        id="",
        type=event.type,
        timestamp=event.timestamp,
        data=msgspec.to_builtins(event.data),
        metadata={},
    )
    about = Subject(
        trace_id=event.metadata.trace_id,
        photo_id=event.data.photo_id,
        job_id=getattr(event.data, "job_id", ""),
    )
    logger.info("%s: %s", event.type, what(shown), extra={"subject": about})


def _work_of(event: Event) -> str:
    """Return the id of the event's job, or of its photo if it has no job."""
    return getattr(event.data, "job_id", event.data.photo_id)


def _creates_work(event: Event) -> bool:
    return isinstance(event.data, PhotoUploaded | ProcessingRequested | PhotoDeleted)


def _ids(event: Event) -> dict[str, str | int]:
    found: dict[str, str | int] = {"photolog.photo_id": event.data.photo_id}
    if (job_id := getattr(event.data, "job_id", None)) is not None:
        found["photolog.job_id"] = job_id
    return found
