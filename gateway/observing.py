"""Describe the gateway's work for metrics and traces."""

from collections.abc import Callable, Mapping

import msgspec

from gateway.http.tracing import Trace
from store.breaker import Breaker
from store.histogram import Distribution
from store.log.memory import Memory
from store.queue.liveness import LogSize


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request whose answer has begun.

    ``route`` is the pattern of the path, empty without a route. ``began_ns`` counts since 1970.
    """

    method: str
    route: str
    status: int
    trace: Trace
    began_ns: int
    seconds: float


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """Measurements from other services; empty or None for those that did not answer in time.

    ``queues`` has the number of waiting and running tasks by stage and lane. ``logs``, ``memories``
    and ``lag_ms`` are by partition: the log, the memory of its server, and the age of the oldest
    event that is not in the read model yet. ``dead_letters`` are by stage. ``open_uploads`` are
    the unfinished resumable uploads of this machine.
    """

    queues: Mapping[tuple[str, str], int] = {}
    logs: Mapping[int, LogSize] = {}
    memories: Mapping[int, Memory] = {}
    lag_ms: Mapping[int, int] = {}
    dead_letters: Mapping[str, int] = {}
    stored_bytes: int | None = None
    open_uploads: int | None = None
    open_upload_bytes: int | None = None


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's gauges at one moment; counters count since the start of the process."""

    uploads_in_progress: int
    connections: Mapping[str, int]
    room_readers: Mapping[str, int]
    deliveries: int
    catch_ups: int
    overflows: int
    slow_readers: int
    failures: int
    delays_ms: Distribution
    open_connections: int
    active_connections: int
    connections_max: int
    connections_displaced: int
    connections_refused: Mapping[str, int]
    breakers: tuple[Breaker, ...]
    elsewhere: Elsewhere


AnswerObserver = Callable[[Answered], None]

Exposition = Callable[[Look], bytes]
"""Write all measurements of the process in Prometheus' text format."""


def nothing(_: Look) -> bytes:
    """Write nothing, for a process without metrics."""
    return b""
