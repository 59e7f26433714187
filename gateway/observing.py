"""What the gateway tells of its work to whoever counts or traces it."""

from collections.abc import Callable, Mapping

import msgspec

from gateway.http.tracing import Trace
from store.histogram import Distribution
from store.log.memory import Memory
from store.queue.liveness import LogSize
from store.redis.breaker import Breaker


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request whose answer has begun.

    ``route`` is the pattern of the path, empty where there is none. ``began_ns`` since 1970.
    """

    method: str
    route: str
    status: int
    trace: Trace
    began_ns: int
    seconds: float


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept elsewhere, as far as it could be asked in time.

    ``queues`` by stage and lane: tasks that wait or are worked on. The others by partition: the
    age of the oldest event outside the read model, the log, and the memory of its server.
    """

    queues: Mapping[tuple[str, str], int] = {}
    logs: Mapping[int, LogSize] = {}
    memories: Mapping[int, Memory] = {}
    lag_ms: Mapping[int, int] = {}
    stored_bytes: int | None = None


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The state of things at one moment; what was counted, since the start of the process."""

    uploads_in_progress: int
    connections: Mapping[str, int]
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
"""Writes all measurements of the process, in Prometheus' text format."""


def nothing(_: Look) -> bytes:
    """The exposition of a process that measures nothing."""
    return b""
