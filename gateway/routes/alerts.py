"""``GET /api/ops/alerts``: failures that have reached a threshold."""

from datetime import UTC, datetime, timedelta

import msgspec
from litestar import get
from litestar.di import NamedDependency

from domain.pipeline.control_events import AlertRaised
from gateway.dependencies import Dependencies
from gateway.http.auth import overseer
from gateway.http.paging import PAGE, Limit, bounded
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from projections.models import history
from projections.models.history import LATEST_MS
from store.log.control import PARTITION
from store.log.position import Position
from store.sqlite.reader import Reader

SHOWN_FOR = timedelta(days=1)


class _Alert(msgspec.Struct, frozen=True, kw_only=True):
    timestamp: str
    data: AlertRaised


_decoder = msgspec.json.Decoder(_Alert)


class AlertView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``error`` is the last failure before the alert; ``stage`` may also name a role."""

    time: str
    level: str
    stage: str | None
    category: str
    code: str
    error: str
    photo_ids: list[str]


class AlertsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Alerts, newest first."""

    items: list[AlertView]


@get(
    "/api/ops/alerts",
    guards=[allowed(overseer), only("limit", "after")],
    responses=problems("invalid-limit", "missing-token", "forbidden", "read-model-behind"),
    tags=["operations"],
    summary="List the alerts of the last day",
)
async def list_alerts(
    deps: NamedDependency[Dependencies], reader: NamedDependency[Reader], limit: Limit = PAGE
) -> AlertsView:
    """List the alerts of the last day, newest first. The event stream has them all."""
    since_ms = int((datetime.now(UTC) - SHOWN_FOR).timestamp() * 1000)
    entries = await reader.query(
        history.of_no_photo,
        AlertRaised.TYPE,
        Position(PARTITION, LATEST_MS, 0),
        since_ms,
        bounded(limit, deps.limits.page_limit_max),
    )
    return AlertsView(items=[_view(_decoder.decode(each.body)) for each in entries])


def _view(alert: _Alert) -> AlertView:
    data = alert.data
    return AlertView(
        time=alert.timestamp,
        level=data.level,
        stage=data.stage,
        category=data.category.value,
        code=data.code,
        error=data.error,
        photo_ids=list(data.photo_ids),
    )


ROUTES = (list_alerts,)
