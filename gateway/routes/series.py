"""``GET /api/ops/series``: the queues over the last hour."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from gateway.http.auth import overseer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from gateway.queries.series import Point, Series
from gateway.queries.throughput import EVERY_S

TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"

Since = Annotated[
    str | None,
    QueryParameter(
        name="since",
        pattern=TIME,
        description="Only points later than this `time` of a point.",
    ),
]


class SeriesView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Points ``every_s`` seconds apart, oldest first."""

    every_s: int
    items: list[Point]


@get(
    "/api/ops/series",
    guards=[allowed(overseer), only("since")],
    responses=problems("missing-token", "forbidden"),
    tags=["operations"],
    summary="Get the last hour of the queues",
)
async def show_series(series: NamedDependency[Series], since: Since = None) -> SeriesView:
    """Return backlog, rates and failures of each stage, the lag of the read model and the memory
    of the log, as this gateway has sampled them since its start, for an hour at most."""
    points = [each for each in series.points if since is None or each.time > since]
    return SeriesView(every_s=EVERY_S, items=points)


ROUTES = (show_series,)
