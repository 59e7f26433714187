"""``GET /metrics``: collect this gateway's gauges for the Prometheus exposition.

Counters are updated as things happen; state kept elsewhere (Redis, SQLite) is read on each scrape.
"""

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from domain.pipeline.stages import TREE, all_stages
from gateway.dependencies import Dependencies
from gateway.http.connections import Connections
from gateway.limits.upload_slots import Slots
from gateway.observing import Elsewhere, Look
from gateway.queries.reading import lag_ms
from gateway.rooms.hub import Hub
from gateway.state.cached_probe import CachedProbe
from projections.models import clients, dead_letters
from store.errors import StoreError
from store.queue import liveness
from store.queue.counters import lengths
from store.sqlite.connection import Connection

TEXT_FORMAT = "text/plain; version=0.0.4"


class Gauges:
    """Read the state of one gateway and of the services that it uses.

    The endpoint needs no sign-in, so concurrent scrapes share one read of the state elsewhere.
    """

    def __init__(
        self, deps: Dependencies, hub: Hub, slots: Slots, connections: Connections
    ) -> None:
        self._deps = deps
        self._connections = connections
        self._hub = hub
        self._slots = slots
        self._elsewhere = CachedProbe(self._look_elsewhere, 0)

    async def look(self) -> Look:
        """Read the gauges; leave out what does not arrive within ``Limits.check_timeout_s``."""
        hub, held = self._hub, self._connections
        return Look(
            uploads_in_progress=self._slots.taken,
            connections={**hub.connections},
            room_readers={**hub.readers},
            deliveries=hub.delivered,
            catch_ups=hub.catch_ups,
            overflows=hub.overflows,
            slow_readers=hub.slow_readers,
            failures=hub.failures,
            delays_ms=hub.delays_ms,
            open_connections=held.open,
            active_connections=held.active,
            connections_max=held.max,
            connections_displaced=held.displaced,
            connections_refused=held.refused,
            breakers=(self._deps.log.redis.breaker, self._deps.blobs.breaker),
            elsewhere=await self._elsewhere.get(self._deps.limits.check_timeout_s) or Elsewhere(),
        )

    async def _look_elsewhere(self) -> Elsewhere:
        found = await self._ask_redis()
        uploads, upload_bytes = await self._open_uploads()
        return msgspec.structs.replace(
            found,
            stored_bytes=await self._stored_bytes(),
            dead_letters=await self._dead_letters(),
            open_uploads=uploads,
            open_upload_bytes=upload_bytes,
        )

    async def _ask_redis(self) -> Elsewhere:
        partitions = range(self._deps.log.partitions)
        try:
            queues = await lengths(self._deps.log, all_stages())
            logs = {each: await liveness.log_size(self._deps.log, each) for each in partitions}
        except StoreError:  # the health checks report it
            return Elsewhere()
        looks = {each: await self._deps.log_memory.of(self._deps.log, each) for each in partitions}
        memories = {each: found for each, found in looks.items() if found is not None}
        try:
            lags = {each: await lag_ms(self._deps, each) for each in partitions}
        except StoreError:
            lags = {}
        return Elsewhere(queues=queues, logs=logs, memories=memories, lag_ms=lags)

    async def _stored_bytes(self) -> int | None:
        try:
            return (await self._deps.reader.query(clients.total)).bytes
        except StoreError:
            return None

    async def _open_uploads(self) -> tuple[int | None, int | None]:
        try:
            return await self._deps.partials.totals()
        except StoreError:
            return None, None

    async def _dead_letters(self) -> dict[str, int]:
        try:
            return await self._deps.reader.query(_dead_letters)
        except StoreError:
            return {}


def _dead_letters(db: Connection) -> dict[str, int]:
    """Return the number of every stage, so that one without dead letters is 0."""
    return dict.fromkeys(TREE, 0) | dead_letters.counts(db)


@get(
    "/metrics",
    exclude_from_auth=True,
    security=[{}],
    media_type="text/plain",
    tags=["health"],
    summary="Get metrics for Prometheus",
)
async def show_metrics(
    deps: NamedDependency[Dependencies], gauges: NamedDependency[Gauges]
) -> Response[bytes]:
    """Return the metrics of this gateway process in the Prometheus text format."""
    return Response(deps.exposition(await gauges.look()), media_type=TEXT_FORMAT)


ROUTES = (show_metrics,)
