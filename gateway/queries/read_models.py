"""``GET /api/ops/projections``: the live generation of the read model, and how current it is."""

import msgspec
from litestar import get
from litestar.di import NamedDependency

from gateway.dependencies import Dependencies
from gateway.http.auth import overseer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from gateway.queries.reading import lag_ms
from projections.models import checkpoints
from store.log.position import Position
from store.sqlite.connection import Connection


class PartitionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``lag_ms`` is how long the oldest event outside the read model has been waiting."""

    partition: int
    checkpoint: str
    end: str
    lag_ms: int


class ProjectionsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``generation`` is the name of the live file."""

    generation: str
    partitions: list[PartitionView]


@get(
    "/api/ops/projections",
    guards=[allowed(overseer), only()],
    responses=problems("missing-token", "forbidden"),
    tags=["operations"],
    summary="Get the state of the read model",
)
async def show_projections(deps: NamedDependency[Dependencies]) -> ProjectionsView:
    """Return the live generation on this gateway's host, and its checkpoint in each partition."""
    generation, reached = await deps.reader.query(_state, deps.log.partitions)
    return ProjectionsView(
        generation=generation,
        partitions=[await _view(deps, position) for position in reached.values()],
    )


async def _view(deps: Dependencies, reached: Position) -> PartitionView:
    return PartitionView(
        partition=reached.partition,
        checkpoint=str(reached),
        end=str(await deps.log.end(reached.partition)),
        lag_ms=await lag_ms(deps, reached.partition),
    )


def _state(db: Connection, partitions: int) -> tuple[str, dict[int, Position]]:
    return db.path.name, checkpoints.get_all(db, partitions)


ROUTES = (show_projections,)
