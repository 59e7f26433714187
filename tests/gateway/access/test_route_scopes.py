"""Every route declares what it needs, and each kind of caller gets exactly what the table says."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.routes import ASGIRoute, HTTPRoute

from gateway.access.route_scopes import ANYONE, BESIDES, NEEDS, PUBLIC
from gateway.app import create_app
from gateway.http.roles import SCOPES_OF, Role
from gateway.openapi.names import camel
from tests.gateway.conftest import Gateway

REFUSED = (401, 403)


@pytest.fixture(scope="module")
def gateway(shared_gateway: Gateway) -> Gateway:
    return shared_gateway


def routes(app: Litestar) -> Iterator[str]:
    """Yield each route as the table names it; OPTIONS is answered without a route's function."""
    for route in app.routes:
        match route:
            case HTTPRoute():
                for method in sorted(route.methods - {"OPTIONS"}):
                    yield f"{method} {route.path_format}"
            case ASGIRoute():
                yield f"ASGI {route.path_format}"
            case _:
                yield f"WEBSOCKET {route.path_format}"


async def test_every_route_declares_what_it_needs_and_nothing_else_is_declared(
    gateway: Gateway,
) -> None:
    declared = set(routes(create_app(gateway.deps)))

    assert declared - NEEDS.keys() == set(), "declare these in gateway/access/route_scopes.py"
    assert NEEDS.keys() - declared == set(), "these routes do not exist"


async def test_routes_without_authentication_are_those_declared_public(gateway: Gateway) -> None:
    for route in create_app(gateway.deps).routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                for method in handler.http_methods - {"OPTIONS"}:
                    is_public = NEEDS[f"{method} {route.path_format}"] == PUBLIC
                    excluded: Any = handler.opt.get("exclude_from_auth", False)
                    assert bool(excluded) == is_public, f"{method} {route.path_format}"


async def status(gateway: Gateway, route: str, authorization: str) -> int:
    """Call the route with a parameter that it does not know, so that nothing is changed."""
    method, _, template = route.partition(" ")
    path = re.sub(r"{\w+}", "x", template)
    answer = await gateway.client.request(
        method, f"{path}?nonsense=1", headers={"Authorization": authorization}
    )
    return answer.status_code


async def test_the_contract_names_the_scopes_of_each_route(gateway: Gateway) -> None:
    document = (await gateway.client.get("/schema/openapi.json")).json()
    needs = {
        re.sub(r"{(\w+)}", lambda found: f"{{{camel(found[1])}}}", route): [
            [need, *more] for more in [[each] for each in BESIDES.get(route, ())] or [[]]
        ]
        for route, need in NEEDS.items()
    }

    for path, item in document["paths"].items():
        for method in item.keys() - {"head"}:
            wanted: list[list[str]] = needs[f"{method.upper()} {path}"]
            if wanted[0][0] in (PUBLIC, ANYONE):
                wanted = [[]]
            security = item[method].get("security", document["security"])
            named = [each["bearer"] for each in security if "bearer" in each]
            assert named in (wanted, []), path


@pytest.mark.parametrize("own", [True, False])
async def test_a_key_needs_one_of_the_scopes_besides(gateway: Gateway, own: bool) -> None:
    wish = {"name": "key", "scopes": ["events.read"], "clientId": "alice" if own else None}
    operator = gateway.bearer("operator")
    made = await gateway.client.post("/api/keys", json=wish, headers=operator)

    answer = await gateway.client.post(
        "/api/webhooks",
        json={"url": "https://example.com/"},
        headers={"Authorization": f"Bearer {made.json()['key']}"},
    )

    lacks = BESIDES["POST /api/webhooks"][0 if own else 1]
    assert (answer.status_code, answer.json()["code"]) == (403, "scope-required")
    assert f'scope="{lacks}"' in answer.headers["WWW-Authenticate"]


HTTP_ROUTES = [each for each in NEEDS if not each.startswith("WEBSOCKET")]


@pytest.mark.parametrize("route", HTTP_ROUTES)
async def test_roles_reach_the_routes_of_their_scopes_alone(gateway: Gateway, route: str) -> None:
    need = NEEDS[route]
    for name, role in (
        ("alice", Role.CLIENT),
        ("operator", Role.OPERATOR),
        ("auditor", Role.AUDITOR),
    ):
        allowed = need in (PUBLIC, ANYONE) or need in SCOPES_OF[role]
        got = await status(gateway, route, f"Bearer {gateway.tokens[name]}")
        assert (got not in REFUSED) == allowed, (name, got)

    anonymous = await status(gateway, route, "")
    assert (anonymous != 401) == (need == PUBLIC), anonymous
