"""``GET /metrics``: what this gateway process did and does, in Prometheus' text format.

| metric | what |
|---|---|
| ``photolog_http_requests_total`` ``{method, route, status}`` | answers |
| ``photolog_http_answer_seconds`` ``{method, route}`` | until an answer begins |
| ``photolog_uploads_in_progress`` | uploads that have a slot |
| ``photolog_projection_lag_seconds`` ``{partition}`` | age of what the read model lacks |
| ``photolog_room_connections`` ``{transport}`` | open WebSockets and streams |
| ``photolog_room_deliveries_total`` | events handed to the readers of rooms |
| ``photolog_room_catch_ups_total`` | pages of history read for readers |
| ``photolog_room_overflows_total`` | backlogs that grew too long, and are read from history |
| ``photolog_room_slow_readers_total`` | readers sent away because they took nothing |
| ``photolog_room_failures_total`` | times that the history could not be read |
| ``circuit_breaker_state`` ``{dependency}`` | 0 closed, 1 half-open, 2 open |
| ``circuit_breaker_openings_total`` ``{dependency}`` | how often it was closed and opened |

No label holds what a user sent: ``route`` is the pattern of the path, empty where there is none.
"""

from collections.abc import Iterator

import anyio
from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.dependencies import Dependencies
from gateway.hub import Hub
from gateway.reading import lag_ms
from store.breaker import STATES, Breaker
from store.errors import StoreError

TEXT_FORMAT = "text/plain; version=0.0.4"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The measurements of one application."""

    def __init__(
        self, hub: Hub, slots: anyio.CapacityLimiter, breakers: tuple[Breaker, ...]
    ) -> None:
        self.registry = CollectorRegistry()
        self._answers = Counter(
            "photolog_http_requests",
            "Answers.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "photolog_http_answer_seconds",
            "Until an answer begins.",
            ["method", "route"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._lag = Gauge(
            "photolog_projection_lag_seconds",
            "Age of the oldest event that is not in the read model.",
            ["partition"],
            registry=self.registry,
        )
        uploads = Gauge(
            "photolog_uploads_in_progress", "Uploads that have a slot.", registry=self.registry
        )
        uploads.set_function(lambda: slots.borrowed_tokens)
        self.registry.register(_Rooms(hub))
        self.registry.register(_Breakers(breakers))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        self._answers.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    async def look(self, deps: Dependencies) -> None:
        """Measure the lag; a partition that cannot be asked keeps no old value."""
        self._lag.clear()
        for partition in range(deps.log.partitions):
            try:
                lag = await lag_ms(deps, partition)
            except StoreError:
                return
            self._lag.labels(str(partition)).set(lag / 1000)


class _Rooms(Collector):
    """The hub counts by itself."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        hub = self._hub
        connections = GaugeMetricFamily(
            "photolog_room_connections", "Open WebSockets and streams.", labels=["transport"]
        )
        for transport, count in hub.connections.items():
            connections.add_metric([transport], count)
        yield connections
        for name, text, count in (
            ("deliveries", "Events handed to the readers of rooms.", hub.delivered),
            ("catch_ups", "Pages of history read for readers.", hub.catch_ups),
            ("overflows", "Backlogs that grew too long.", hub.overflows),
            ("slow_readers", "Readers sent away because they took nothing.", hub.slow_readers),
            ("failures", "Times that the history could not be read.", hub.failures),
        ):
            yield CounterMetricFamily(f"photolog_room_{name}", text, value=count)


class _Breakers(Collector):
    """Breakers count by themselves, too."""

    def __init__(self, breakers: tuple[Breaker, ...]) -> None:
        self._breakers = breakers

    def collect(self) -> Iterator[Metric]:
        labels = ["dependency"]
        state = GaugeMetricFamily(
            "circuit_breaker_state", "0 closed, 1 half-open, 2 open.", labels=labels
        )
        openings = CounterMetricFamily(
            "circuit_breaker_openings", "How often it was closed and opened.", labels=labels
        )
        for breaker in self._breakers:
            state.add_metric([breaker.name], STATES.index(breaker.state))
            openings.add_metric([breaker.name], breaker.openings)
        yield state
        yield openings


@get(
    "/metrics",
    exclude_from_auth=True,
    security=[{}],
    media_type="text/plain",
    tags=["health"],
    summary="Measurements for Prometheus",
)
async def show_metrics(
    deps: NamedDependency[Dependencies], metrics: NamedDependency[Metrics]
) -> Response[bytes]:
    """Of this process; every gateway has its own."""
    with anyio.move_on_after(deps.limits.check_timeout_s):
        await metrics.look(deps)
    return Response(generate_latest(metrics.registry), media_type=TEXT_FORMAT)


ROUTES = (show_metrics,)
