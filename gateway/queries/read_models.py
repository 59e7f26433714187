"""``GET /api/ops/projections``: the live generation of the read model, and how current it is."""

from pathlib import Path

import msgspec
from anyio import to_thread
from litestar import get
from litestar.di import NamedDependency

from domain.moments import iso
from gateway.dependencies import Dependencies
from gateway.http.auth import overseer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from gateway.queries.reading import lag_ms
from projections.models import checkpoints
from store.log.position import Position
from store.sqlite.connection import Connection
from store.sqlite.generation_files import all_files


class PartitionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``lag_ms`` is how long the oldest event outside the read model has been waiting."""

    partition: int
    checkpoint: str
    end: str
    lag_ms: int


class GenerationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file of the read model; one that is not ``live`` was replaced, or is being built."""

    name: str
    size_bytes: int
    changed_at: str
    live: bool


class ProjectionsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``generation`` is the name of the live file, which comes first in ``generations``."""

    generation: str
    generations: list[GenerationView]
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
    path, reached = await deps.reader.query(_state)
    found = await to_thread.run_sync(all_files, path.parent)
    return ProjectionsView(
        generation=path.name,
        generations=[
            GenerationView(
                name=each.name,
                size_bytes=each.size_bytes,
                changed_at=iso(each.changed_at),
                live=each.name == path.name,
            )
            for each in sorted(found, key=lambda each: each.name != path.name)
        ],
        partitions=[await _view(deps, position) for position in reached.values()],
    )


async def _view(deps: Dependencies, reached: Position) -> PartitionView:
    return PartitionView(
        partition=reached.partition,
        checkpoint=str(reached),
        end=str(await deps.log.end(reached.partition)),
        lag_ms=await lag_ms(deps, reached.partition),
    )


def _state(db: Connection) -> tuple[Path, dict[int, Position]]:
    return db.path, checkpoints.get_all(db)


ROUTES = (show_projections,)
