"""All metrics: what each means, and which roles serve it.

The gateway serves its metrics at ``/metrics`` on its port, each other role on a port of its own
(see ``ops.telemetry.metrics_server``). A label holds one of a few fixed words, never an id or
anything that a user sent. Every gateway reports the same value for what is in Redis or on the disk:
take the maximum, not the sum.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

import msgspec

from store.histogram import Distribution

Role = Literal["gateway", "projector", "worker", "archiver", "webhooks", "up"]

Labels = tuple[str, ...]

Samples = Mapping[Labels, float] | Mapping[Labels, Distribution]
"""Values by the values of the labels."""

BY_LIBRARY = "process_"
"""The prefix of metrics that prometheus_client measures and describes itself."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
MILLISECONDS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000)


class Metric(msgspec.Struct, frozen=True):
    """``name`` as Prometheus reads it. ``buckets`` are the upper bounds of a histogram."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    roles: tuple[Role, ...]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


GATEWAY: tuple[Role, ...] = ("gateway",)
PROJECTOR: tuple[Role, ...] = ("projector",)
WORKER: tuple[Role, ...] = ("worker",)
ARCHIVER: tuple[Role, ...] = ("archiver",)
WEBHOOKS: tuple[Role, ...] = ("webhooks",)
UP: tuple[Role, ...] = ("up",)
ALL: tuple[Role, ...] = ("gateway", "projector", "worker", "archiver", "webhooks", "up")

METRICS = (
    # The pipeline.
    Metric(
        "job_queue_size",
        "gauge",
        GATEWAY,
        "Tasks on a lane that are not done: waiting or being worked on.",
        ("stage", "lane"),
    ),
    Metric(
        "job_processing_duration_ms",
        "histogram",
        WORKER,
        "Duration of a run of a stage, from the claim of its task to the recorded result. outcome"
        " is completed, failed, lost (the result came too late) or interrupted (it will be rerun).",
        ("stage", "outcome"),
        MILLISECONDS,
    ),
    Metric(
        "job_failures_total",
        "counter",
        ("gateway", "worker"),
        "Failed attempts at a stage, recorded by this process.",
        ("stage", "category"),
    ),
    Metric("photolog_tasks_in_hand", "gauge", WORKER, "Tasks claimed and not done."),
    Metric(
        "photolog_task_takeovers_total",
        "counter",
        WORKER,
        "Tasks taken over from workers that ended or stalled.",
    ),
    Metric(
        "photolog_decoders_running",
        "gauge",
        WORKER,
        "Decoder processes that run. At 0 the worker takes no tasks: health says why none starts.",
    ),
    Metric("photolog_decoders_busy", "gauge", WORKER, "Decoder processes that are decoding."),
    Metric("photolog_decoder_tasks_waiting", "gauge", WORKER, "Tasks that wait for a decoder."),
    Metric(
        "photolog_decoder_restarts_total",
        "counter",
        WORKER,
        "Decoder processes replaced, by the failure that ended them.",
        ("reason",),
    ),
    # The blobs.
    Metric(
        "storage_operations_total",
        "counter",
        ("gateway", "worker", "archiver"),
        "Operations on blobs, including those of the health checks: put, get, stat, list, delete."
        " outcome is ok, missing, full, unavailable, corrupt, or failed if interrupted.",
        ("operation", "outcome"),
    ),
    Metric(
        "storage_operation_duration_ms",
        "histogram",
        ("gateway", "worker", "archiver"),
        "Duration of an operation on blobs. A put ends when the blob is durable, a get when its"
        " bytes can be read.",
        ("operation",),
        MILLISECONDS,
    ),
    Metric(
        "storage_size_bytes",
        "gauge",
        GATEWAY,
        "Size of the files of all photos that are not deleted, by the read model. At most a minute"
        " old.",
    ),
    Metric(
        "circuit_breaker_state",
        "gauge",
        ("gateway", "worker"),
        "State of the circuit breakers for Redis and for the blobs: 0 closed, 1 half-open, 2 open.",
        ("dependency",),
    ),
    Metric(
        "circuit_breaker_openings_total",
        "counter",
        ("gateway", "worker"),
        "Times that a circuit breaker opened.",
        ("dependency",),
    ),
    # The log and the read model.
    Metric(
        "events_published_total",
        "counter",
        ("gateway", "worker"),
        "Events that this process appended and the log confirmed.",
        ("type",),
    ),
    Metric(
        "photolog_log_events",
        "gauge",
        GATEWAY,
        "Events of the log that are in Redis.",
        ("partition",),
    ),
    Metric(
        "photolog_log_memory_bytes",
        "gauge",
        GATEWAY,
        "Memory of the log, as the server estimates it.",
        ("partition",),
    ),
    Metric(
        "photolog_redis_memory_bytes",
        "gauge",
        GATEWAY,
        "Memory that the server of the partition uses, counted as for its bound.",
        ("partition",),
    ),
    Metric(
        "photolog_redis_memory_max_bytes",
        "gauge",
        GATEWAY,
        "Memory that the server of the partition may use; 0 if it has no bound.",
        ("partition",),
    ),
    Metric(
        "photolog_dead_letters",
        "gauge",
        GATEWAY,
        "Jobs that failed for good and were neither retried nor discarded.",
        ("stage",),
    ),
    Metric(
        "photolog_projection_lag_seconds",
        "gauge",
        GATEWAY,
        "Age of the oldest event that the read model does not have yet.",
        ("partition",),
    ),
    Metric(
        "photolog_projector_events_total",
        "counter",
        PROJECTOR,
        "Events folded into the live read model.",
    ),
    Metric(
        "photolog_projector_commit_seconds",
        "histogram",
        PROJECTOR,
        "Duration of a transaction of the live read model: rows and checkpoint.",
        (),
        SECONDS,
    ),
    # The archive.
    Metric(
        "photolog_archived_events_total",
        "counter",
        ARCHIVER,
        "Entries of the log that this archiver has sealed into segments.",
    ),
    Metric(
        "photolog_trimmed_events_total",
        "counter",
        ARCHIVER,
        "Archived entries that this archiver has removed from the stream.",
    ),
    Metric(
        "photolog_evicted_states_total",
        "counter",
        ARCHIVER,
        "States of photos and upload sessions at rest that this archiver has removed from Redis.",
    ),
    Metric(
        "photolog_archive_failing",
        "gauge",
        ARCHIVER,
        "Partitions that the archiver cannot archive now; its log says why.",
    ),
    # The gateway.
    Metric(
        "photolog_http_requests_total",
        "counter",
        GATEWAY,
        "HTTP answers. route is the pattern of the path, empty if no route matches.",
        ("method", "route", "status"),
    ),
    Metric(
        "photolog_http_answer_seconds",
        "histogram",
        GATEWAY,
        "Time until an answer begins.",
        ("method", "route"),
        SECONDS,
    ),
    Metric(
        "photolog_rate_limited_total",
        "counter",
        GATEWAY,
        "Requests, WebSockets and their messages, and bytes of uploads that a rate limit rejected.",
        ("policy",),
    ),
    Metric(
        "photolog_connections",
        "gauge",
        GATEWAY,
        "Open connections. state is active while a request on one is being answered, else idle.",
        ("state",),
    ),
    Metric("photolog_connections_max", "gauge", GATEWAY, "Maximum number of open connections."),
    Metric(
        "photolog_connections_displaced_total",
        "counter",
        GATEWAY,
        "Idle connections closed to make room for new ones.",
    ),
    Metric(
        "photolog_connections_refused_total",
        "counter",
        GATEWAY,
        "Connections, requests and WebSockets rejected. bound is total, address or client.",
        ("bound",),
    ),
    Metric("photolog_uploads_in_progress", "gauge", GATEWAY, "Uploads that have a slot."),
    Metric(
        "photolog_open_uploads",
        "gauge",
        GATEWAY,
        "Unfinished resumable uploads on this machine.",
    ),
    Metric(
        "photolog_open_upload_bytes",
        "gauge",
        GATEWAY,
        "Bytes received of the unfinished resumable uploads on this machine.",
    ),
    Metric("websocket_connections_active", "gauge", GATEWAY, "Open WebSockets."),
    Metric(
        "photolog_room_connections",
        "gauge",
        GATEWAY,
        "Open WebSockets and event streams.",
        ("transport",),
    ),
    Metric(
        "photolog_room_readers",
        "gauge",
        GATEWAY,
        "Readers of all rooms of a kind: client, session, photo or global. A WebSocket or stream"
        " counts in each of its rooms.",
        ("kind",),
    ),
    Metric(
        "event_delivery_duration_ms",
        "histogram",
        GATEWAY,
        "Time from the append of an event to its delivery to a reader of a room, by the log's"
        " clock. Only live deliveries: catching up on history does not count.",
    ),
    Metric(
        "photolog_room_deliveries_total",
        "counter",
        GATEWAY,
        "Events delivered to the readers of rooms.",
    ),
    Metric(
        "photolog_room_catch_ups_total",
        "counter",
        GATEWAY,
        "Pages of history read for readers that catch up.",
    ),
    Metric(
        "photolog_room_overflows_total",
        "counter",
        GATEWAY,
        "Backlogs that grew too long; their readers catch up from history.",
    ),
    Metric(
        "photolog_room_slow_readers_total",
        "counter",
        GATEWAY,
        "Readers disconnected because they read nothing.",
    ),
    Metric(
        "photolog_room_failures_total",
        "counter",
        GATEWAY,
        "Times that the history could not be read.",
    ),
    # Webhooks. Only the process that has the lease delivers; others report 0.
    Metric(
        "photolog_webhook_attempts_total",
        "counter",
        WEBHOOKS,
        "Attempts to deliver an event. outcome is delivered, rejected (an answer other than 2xx),"
        " gone (410), timeout, unreachable, not-allowed (a private address) or tls.",
        ("outcome",),
    ),
    Metric(
        "photolog_webhook_attempt_seconds",
        "histogram",
        WEBHOOKS,
        "Duration of an attempt to deliver an event.",
        (),
        SECONDS,
    ),
    Metric(
        "photolog_webhooks",
        "gauge",
        WEBHOOKS,
        "Enabled webhooks. state is delivering, failing (its last attempt failed) or unsigned"
        " (this process cannot derive its secret).",
        ("state",),
    ),
    Metric(
        "photolog_webhook_behind_seconds",
        "gauge",
        WEBHOOKS,
        "Age of the oldest event that waits to be delivered, over all webhooks.",
    ),
    # The processes.
    Metric(
        "photolog_background_failures_total",
        "counter",
        ALL,
        "Unexpected errors of long-running tasks, which restart.",
        ("task",),
    ),
    Metric(
        "photolog_role_restarts_total",
        "counter",
        UP,
        "Times that a process of the system ended unexpectedly and was restarted.",
        ("role",),
    ),
    Metric(
        "process_cpu_seconds_total",
        "counter",
        ALL,
        "Total user and system CPU time spent in seconds.",
    ),
    Metric("process_resident_memory_bytes", "gauge", ALL, "Resident memory size in bytes."),
    Metric("process_virtual_memory_bytes", "gauge", ALL, "Virtual memory size in bytes."),
    Metric(
        "process_start_time_seconds",
        "gauge",
        ALL,
        "Start time of the process since unix epoch in seconds.",
    ),
    Metric("process_open_fds", "gauge", ALL, "Number of open file descriptors."),
    Metric("process_max_fds", "gauge", ALL, "Maximum number of open file descriptors."),
)


class Metrics:
    """Count what one process does, and write metrics. Not thread-safe."""

    def __init__(self, role: Role) -> None:
        self._metrics = {metric.name: metric for metric in METRICS if role in metric.roles}
        # Counters without labels are exposed from the start, with 0.
        self._counts: dict[str, Counter[Labels]] = {
            metric.name: Counter() if metric.labels else Counter({(): 0})
            for metric in self._of_kind("counter")
        }
        self._distributions: dict[str, dict[Labels, Distribution]] = {
            metric.name: {} if metric.labels else {(): Distribution(metric.buckets)}
            for metric in self._of_kind("histogram")
        }

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        self._counts[name][labels] += by

    def add(self, name: str, value: float, *labels: str) -> None:
        """Count the value in a histogram."""
        found = self._distributions[name]
        if labels not in found:
            found[labels] = Distribution(self._metrics[name].buckets)
        found[labels].add(value)

    def exposition(self, shown: Mapping[str, Samples] | None = None) -> bytes:
        """Return all metrics of the role in Prometheus' text format, with the samples ``shown``."""
        from ops.telemetry.exposition import written  # noqa: PLC0415 # only where metrics are read

        samples: dict[str, Samples] = {**self._counts, **self._distributions, **(shown or {})}
        return written(
            (self._metrics[name], values)
            for name, values in samples.items()
            if not name.startswith(BY_LIBRARY)
        )

    def _of_kind(self, kind: str) -> list[Metric]:
        return [metric for metric in self._metrics.values() if metric.kind == kind]
