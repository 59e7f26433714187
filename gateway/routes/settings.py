"""``GET /api/ops/settings``: the settings of the running gateway, and where each comes from."""

import msgspec
from litestar import get
from litestar.di import NamedDependency

from gateway.dependencies import Dependencies, RunningSetting
from gateway.http.auth import overseer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only


class SettingsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All settings, in the order in which `photolog config` lists them."""

    items: list[RunningSetting]


@get(
    "/api/ops/settings",
    guards=[allowed(overseer), only()],
    responses=problems("missing-token", "forbidden"),
    tags=["operations"],
    summary="List the settings in force",
)
async def list_settings(deps: NamedDependency[Dependencies]) -> SettingsView:
    """Return each setting as this gateway runs with it, and its source. Secrets are masked."""
    return SettingsView(items=list(deps.settings))


ROUTES = (list_settings,)
