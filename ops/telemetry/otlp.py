"""Send spans to an OpenTelemetry collector, by OTLP over HTTP.

Only a process with the setting ``otlp_endpoint`` imports this module, and with it OpenTelemetry.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import anyio
import requests
from anyio import to_thread
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode

from ops.telemetry.spans import Span, Spans
from store.observing import ignore

logger = logging.getLogger("photolog.traces")

QUEUE = 2_048
"""Spans that wait to be sent; more are dropped."""

PAUSE_S = 1.0
SEND_S = 10.0
"""How long the collector may take for a batch."""

FLUSH_S = 3.0
"""How long a role may take to send its last spans when it stops."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")

_KINDS = {
    "server": SpanKind.SERVER,
    "internal": SpanKind.INTERNAL,
    "consumer": SpanKind.CONSUMER,
}


@asynccontextmanager
async def exporting(
    endpoint: str, role: str, name: str, failed: Callable[[Exception], None] = ignore
) -> AsyncGenerator[Spans]:
    """Send spans to the collector at ``endpoint`` in the background; the last ones at the end.

    ``failed`` is called with unexpected errors of sending, in the caller's thread.
    """
    # The library logs every failed attempt; ``_Exporter`` logs the first one.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    loop = asyncio.get_running_loop()

    def report(error: Exception) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(failed, error)

    exporter = _Exporter(endpoint, report)
    ids = _Ids()
    provider = TracerProvider(
        sampler=sampling.ALWAYS_ON,
        resource=Resource.create({"service.name": f"photolog-{role}", "service.instance.id": name}),
        shutdown_on_exit=False,
        id_generator=ids,
    )
    provider.add_span_processor(
        BatchSpanProcessor(exporter, QUEUE, schedule_delay_millis=PAUSE_S * 1000)
    )
    tracer = provider.get_tracer("photolog")

    def send(span: Span) -> None:
        ids.trace_id, ids.span_id = int(span.trace_id, 16), int(span.span_id, 16)
        sent = tracer.start_span(
            span.name,
            _below(span),
            _KINDS[span.kind],
            span.attributes,
            start_time=span.began_ns,
        )
        if span.failed:
            sent.set_status(Status(StatusCode.ERROR))
        sent.end(span.began_ns + int(span.seconds * 1e9))

    try:
        yield send
    finally:
        # A daemon thread ends with the process: the exporter may retry for longer than FLUSH_S.
        flushing = threading.Thread(target=provider.shutdown, daemon=True)
        flushing.start()
        # A role stops by cancellation: unshielded, the first await here would end the flush.
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(flushing.join, FLUSH_S)
        exporter.shutdown()  # ends the pause before a retry


class _Ids(IdGenerator):
    """Give the next span the ids that Photolog has chosen for it."""

    def __init__(self) -> None:
        self.trace_id = self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Exporter(SpanExporter):
    """Log once that the collector accepts no spans, and once that it accepts them again."""

    def __init__(self, endpoint: str, report: Callable[[Exception], None]) -> None:
        self._report = report
        session = requests.Session()
        # A proxy named in the environment cannot reach this machine's loopback addresses.
        session.trust_env = urlsplit(endpoint).hostname not in _LOOPBACK
        url = f"{endpoint.rstrip('/')}/v1/traces"
        self._exporter = OTLPSpanExporter(url, timeout=SEND_S, session=session)
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # the library would only log it, and its logger is silenced
            self._report(error)
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            logger.warning("the collector does not accept spans: they are lost")
        elif self._failing and not failed:
            logger.info("the collector accepts spans again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _below(span: Span) -> Context:
    """Return a context in which the span's parent is current."""
    if not span.parent_id:
        return Context()
    parent = trace.SpanContext(
        int(span.trace_id, 16),
        int(span.parent_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())
