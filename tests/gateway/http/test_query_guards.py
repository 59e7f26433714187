"""Integers in queries, paths, headers and forms of all routes: plain decimal digits."""

import re
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest

from tests.gateway.conftest import Gateway, picture

NOT_DECIMAL = (
    *("1e1", "1E1", "1.0", "1.", "+1", "-1", " 1", "1 ", "\t1", "1\n"),
    *(
        "\uff11",
        "\u0661",
        "\u00b2",
        "0x1",
        "0b1",
        "1_000",
        "1,000",
        "1e400",
        "NaN",
        "true",
        "null",
        "9" * 19,
        "9" * 4_000,
    ),
)


class Place(NamedTuple):
    """A place where a route accepts an integer: its ``query``, ``path`` or ``form``."""

    method: str
    path: str
    where: str
    name: str
    may_be_negative: bool


def places(document: dict[str, Any]) -> list[Place]:
    found: list[Place] = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {})
            form = content.get("multipart/form-data", {}).get("schema", {})
            named = [
                *((each["in"], each["name"], each["schema"]) for each in parameters(operation)),
                *(("form", name, schema) for name, schema in form.get("properties", {}).items()),
            ]
            found += [
                Place(method, path, where, name, schema.get("minimum", 0) < 0)
                for where, name, schema in named
                if "integer" in kinds(schema)
            ]
    return found


def parameters(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return operation.get("parameters", [])


def kinds(schema: dict[str, Any]) -> set[str]:
    types = schema.get("type", [])
    of_all = {types} if isinstance(types, str) else set(types)
    return of_all.union(*(kinds(each) for each in schema.get("oneOf", ())))


async def ask(gateway: Gateway, place: Place, text: str) -> httpx.Response:
    filled = {place.name: text} if place.where == "path" else {}
    path = "/".join(
        quote(filled.get(part.strip("{}"), "x"), safe="") if part.startswith("{") else part
        for part in place.path.split("/")
    )
    return await gateway.client.request(
        place.method,
        path,
        params={place.name: text} if place.where == "query" else None,
        headers=gateway.bearer("operator")
        | ({place.name: text} if place.where == "header" else {}),
        files={"file": ("a.png", picture())} if place.where == "form" else None,
        data={place.name: text} if place.where == "form" else None,
    )


@pytest.mark.parametrize("where", ["query", "path", "form"])
async def test_an_integer_may_have_only_decimal_digits(gateway: Gateway, where: str) -> None:
    document = (await gateway.client.get("/schema/openapi.json")).json()
    found = [place for place in places(document) if place.where == where]
    assert found
    assert {place.where for place in places(document)} == {"query", "path", "form"}

    for place in found:
        for text in NOT_DECIMAL:
            if text == "-1" and place.may_be_negative:
                continue
            answer = await ask(gateway, place, text)
            problem = answer.json()
            if where == "path":
                assert (answer.status_code, problem["code"]) == (404, "not-found"), (place, text)
            else:
                assert answer.status_code == 400, (place, text)
                own = re.sub("[A-Z]", lambda letter: f"-{letter[0].lower()}", place.name)
                assert problem["code"] in ("invalid-request", f"invalid-{own}")
                assert place.name in problem["detail"]
        right = await ask(gateway, place, "7")
        assert right.status_code != 400, place
        assert right.json().get("code") != "not-found", place


async def test_an_empty_integer_is_invalid_in_a_query_and_the_default_in_a_form(
    gateway: Gateway,
) -> None:
    query = await gateway.get("/api/photos?limit=")
    form = await gateway.upload(priority="")

    assert (query.status_code, query.json()["code"]) == (400, "invalid-request")
    assert query.json()["detail"] == "limit: must be an integer in the digits 0 to 9 (got '')"
    assert form.status_code == 201
