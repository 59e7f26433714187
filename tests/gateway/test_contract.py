"""The OpenAPI document: what clients build on."""

import re
from typing import Any

import msgspec
import pytest
from syrupy.assertion import SnapshotAssertion

from gateway.problems import PROBLEMS
from tests.gateway.conftest import Gateway

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def projecting() -> bool:
    return False


@pytest.fixture
async def document(gateway: Gateway) -> dict[str, Any]:
    del gateway.client.headers["Authorization"]
    return (await gateway.client.get("/schema/openapi.json")).json()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", item[method])
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    ]


async def test_the_contract_is_this(document: dict[str, Any], snapshot: SnapshotAssertion) -> None:
    assert document == snapshot


async def test_it_is_open_api_3_1_with_its_security(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["components"]["securitySchemes"]["bearer"]["bearerFormat"] == "JWT"
    assert document["security"] == [{"bearer": []}, {"cookie": []}]


async def test_every_route_is_described(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        assert not operation.get("deprecated"), name


async def test_every_error_that_is_described_is_a_problem(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) < 400 or name.startswith("get /health"):
                continue
            assert list(response["content"]) == ["application/problem+json"], name
            for code in response["description"].split("`")[1::2]:
                assert PROBLEMS[code].status == int(status), name


@pytest.mark.parametrize("path", ["/api/photos", "/api/photos/{photo_id}/history"])
async def test_a_list_takes_the_parameters_that_are_described_and_no_others(
    gateway: Gateway, path: str
) -> None:
    document = (await gateway.client.get("/schema/openapi.json")).json()
    parameters = document["paths"][path]["get"]["parameters"]
    named = [each["name"] for each in parameters if each["in"] == "query"]

    for name in named:
        answer = await gateway.client.get(path, params={name: "x"})
        assert "There is no query parameter" not in answer.text, name
    refused = await gateway.client.get(path, params={"Limit": "7"})

    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (400, "invalid-request")
    assert problem["detail"] == "There is no query parameter 'Limit'."
    offered = problem["advice"].removeprefix("Use ").removesuffix(".").split(", ")
    assert sorted(offered) == sorted(named)


async def test_what_a_reference_names_is_there(document: dict[str, Any]) -> None:
    text = msgspec.json.encode(document).decode()

    for reference in re.findall(r'"\$ref":"([^"]+)"', text):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
