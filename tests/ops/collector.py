"""An OpenTelemetry collector that receives spans by OTLP over HTTP, and keeps them."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A span as it was received. Ids are in hex; ``parent_id`` is empty at the root."""

    service: str
    instance: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began_ns: int
    ended_ns: int
    failed: bool
    attributes: dict[str, str | int]


class Collector:
    def __init__(self) -> None:
        self.received: list[Received] = []
        self.status = 200
        self.takes_s = 0.0
        self.paths: set[str] = set()
        self.url = ""

    def trace(self, trace_id: str) -> list[Received]:
        return [span for span in self.received if span.trace_id == trace_id]

    def take(self, path: str, body: bytes) -> None:
        self.paths.add(path)
        request: Any = ExportTraceServiceRequest.FromString(body)
        for resource_spans in request.resource_spans:
            resource = _plain(resource_spans.resource.attributes)
            for scope_spans in resource_spans.scope_spans:
                self.received += [_received(resource, span) for span in scope_spans.spans]


@contextmanager
def collecting(port: int = 0) -> Generator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(collector.takes_s)
            if collector.status == 200:
                collector.take(self.path, body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # of its parent
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _received(resource: dict[str, str | int], span: Any) -> Received:
    return Received(
        service=str(resource["service.name"]),
        instance=str(resource["service.instance.id"]),
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        failed=span.status.code == 2,
        attributes=_plain(span.attributes),
    )


def _plain(attributes: Any) -> dict[str, str | int]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
