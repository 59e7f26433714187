"""The OpenAPI document, on which clients depend."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import OpenAPIV31SpecValidator
from syrupy.assertion import SnapshotAssertion

from domain.photo.events import EVENT_TYPES
from gateway.access.oidc.config import CALLBACK
from gateway.http.problem_table import PROBLEMS
from tests.gateway.conftest import Gateway
from tests.gateway.documented import codes

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def gateway(shared_gateway: Gateway) -> Gateway:
    return shared_gateway


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
    assert document["components"]["securitySchemes"]["bearer"]["bearerFormat"] == "JWT or API key"
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


def _credentials(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    """Return the query parameters of the security schemes that the operation accepts."""
    schemes = document["components"]["securitySchemes"]
    accepted = {name for each in operation.get("security", document["security"]) for name in each}
    return [
        schemes[name]["name"] for name in sorted(accepted) if schemes[name].get("in") == "query"
    ]


async def test_each_address_accepts_its_described_parameters_once_and_no_others(
    gateway: Gateway, document: dict[str, Any]
) -> None:
    ask = partial(gateway.client.request, headers=gateway.bearer("operator"))
    for name, operation in operations(document):
        method, path = name.split()
        # An OpenID provider adds parameters of its own.
        if not path.startswith("/api/") or path == CALLBACK:
            continue
        address = re.sub(r"{\w+}", "150", path)
        query = [each for each in operation.get("parameters", []) if each["in"] == "query"]
        repeated = {each["name"] for each in query if each["schema"].get("type") == "array"}
        named = [each["name"] for each in query] + _credentials(document, operation)

        for known in named:
            answer = await ask(method, address, params={known: "x"})
            assert "Unknown query parameter" not in answer.text, name
            if known in repeated:
                continue
            twice = await ask(method, address, params={known: ["x", "y"]})
            assert twice.json()["code"] == "invalid-request", name
            assert twice.json()["detail"] == f"Duplicate query parameter '{known}'."
        refused = await ask(method, address, params={"Limit": "7"})

        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (400, "invalid-request"), name
        assert problem["detail"] == "Unknown query parameter 'Limit'."
        offered = re.findall(r"\w+", problem["advice"].removeprefix("Use ")) if named else []
        assert sorted(offered) == sorted(named)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/api/ops/dead-letters/retry", {"all": 1}, "all: must be true or false (got an integer)"),
        ("/api/ops/dead-letters/retry", {"all": "true"}, "all: must be true or false (got text)"),
        ("/api/ops/dead-letters/retry", {"all": True, "limit": "5"}, "limit: must be an integer"),
        ("/api/ops/dead-letters/retry", {"all": True, "owner": "bob"}, "unknown field owner"),
        ("/api/ops/dead-letters/retry", {"photoIds": [1]}, "photoIds[0]: must be text"),
        ("/api/ops/dead-letters/retry", [], "body: must be an object (got an array)"),
        (
            "/api/ops/queues/metadata/limits",
            {"concurrency": "2"},
            "concurrency: must be",
        ),
        ("/api/ops/queues/metadata/pause", {"why": "x"}, "unknown field why"),
        ("/api/ops/queues/metadata/pause", [], "must be an object or null"),
        ("/api/ops/queues/metadata/resume", {"until": 1}, "unknown field until"),
        (
            "/api/photos/1/reprocess",
            {"priority": "5"},
            "priority: must be an integer (got text)",
        ),
        ("/api/photos/1/reprocess", {"pipelin": "quick_processing"}, "unknown field pipelin"),
    ],
)
async def test_a_body_of_the_wrong_type_is_rejected_with_the_place_and_reason(
    gateway: Gateway, path: str, body: Any, told: str
) -> None:
    method = "PUT" if path.endswith("limits") else "POST"

    answer = await gateway.client.request(
        method, path, json=body, headers=gateway.bearer("operator")
    )

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "invalid-request")
    assert told in problem["detail"]


@pytest.mark.parametrize(
    ("address", "told", "advice"),
    [
        ("/api/events", "the query parameter room is missing", "client:<id>"),
        ("/api/photos?status=lost", "status: cannot be 'lost'", "completed"),
        ("/api/photos?sort=date", "sort: cannot be 'date'", "uploaded or taken"),
        ("/api/photos/timeline?by=week", "by: cannot be 'week'", "month"),
        ("/api/ops/jobs?state=bad", "state: cannot be 'bad'", "completed"),
        (
            "/api/photos?limit=many",
            "limit: must be an integer in the digits 0 to 9 (got 'many')",
            "",
        ),
        ("/api/photos?limit=0", "limit: must be at least 1", ""),
        ("/api/ops/dead-letters?category=x", "category: cannot be 'x'", "temporary"),
    ],
)
async def test_an_invalid_query_is_rejected_with_the_valid_values(
    gateway: Gateway, address: str, told: str, advice: str
) -> None:
    answer = await gateway.client.get(address, headers=gateway.bearer("operator"))

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "invalid-request")
    assert problem["detail"] == told
    assert advice in problem["advice"]


@pytest.mark.parametrize("body", [b"", b"{}", b"null"])
async def test_pausing_draining_and_resuming_need_no_body(gateway: Gateway, body: bytes) -> None:
    for what in ("pause", "drain", "resume"):
        answer = await gateway.client.post(
            f"/api/ops/queues/metadata/{what}", content=body, headers=gateway.bearer("operator")
        )

        assert answer.status_code == 200, answer.text


async def test_requests_that_only_read_have_no_problems_of_commands(
    document: dict[str, Any],
) -> None:
    for name, operation in operations(document):
        if name.startswith("get "):
            assert operation["responses"].keys().isdisjoint({"415", "507"}), name


async def test_every_reference_resolves(document: dict[str, Any]) -> None:
    text = msgspec.json.encode(document).decode()

    for reference in re.findall(r'"\$ref":"([^"]+)"', text):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


async def test_each_address_lists_the_problems_that_its_parameters_imply(
    document: dict[str, Any],
) -> None:
    brought = {
        "after": {"invalid-position", "read-model-behind"},
        "cursor": {"invalid-cursor"},
        "from": {"invalid-time"},
        "limit": {"invalid-limit"},
        "lastEventId": {"invalid-position"},
    }
    for name, operation in operations(document):
        if not name.partition(" ")[2].startswith("/api/"):
            continue
        wanted: set[str] = set()
        for parameter in operation.get("parameters", []):
            wanted |= brought.get(parameter["name"], set())
        if operation.get("security") != [{}]:
            wanted |= {"missing-token", "invalid-token", "expired-token"}
            wanted |= {"revoked-token", "token-not-yet-valid", "expired-session"}
            if not name.startswith("get ") and not name.endswith(("/login", "/login/preview")):
                wanted |= {"cross-origin", "forbidden", "log-unavailable"}

        assert wanted <= codes(operation), name


async def test_the_types_of_events_are_those_of_the_domain(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    event = schemas["Event"]
    named = {kind: reference.rpartition("/")[2] for kind, reference in mapping_of(event).items()}

    assert named == {kind: cls.__name__ for kind, cls in EVENT_TYPES.items()}
    assert [each["$ref"] for each in event["oneOf"]] == list(mapping_of(event).values())
    for kind, name in named.items():
        assert schemas[name]["properties"]["type"]["const"] == kind
        data = schemas[schemas[name]["properties"]["data"]["$ref"].rpartition("/")[2]]
        fields = msgspec.structs.fields(EVENT_TYPES[kind])
        assert set(data["properties"]) == {field.encode_name for field in fields}, name


def mapping_of(event: dict[str, Any]) -> dict[str, str]:
    assert event["discriminator"]["propertyName"] == "type"
    return event["discriminator"]["mapping"]


async def test_names_are_those_of_the_domain_in_camel_case(document: dict[str, Any]) -> None:
    for name in document["components"]["schemas"]:
        assert re.fullmatch(r"([A-Z][a-z0-9]*)+", name), name
        assert not re.search(r"View|Wire|Line$|Wish|Type\d", name), name
    for path in document["paths"]:
        assert "_" not in path
    for name, operation in operations(document):
        assert re.fullmatch(r"[a-z]+([A-Z][a-z]*)+", operation["operationId"]), name
        path = name.partition(" ")[2]
        assert re.findall(r"{(\w+)}", path) == [
            each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"
        ]


async def test_each_moment_of_an_answer_is_marked_as_one(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def format_of(schema: str, field: str) -> str | None:
        return schemas[schema]["properties"][field].get("format")

    assert format_of("Photo", "uploadedAt") == "date-time"
    assert format_of("Photo", "processingStartedAt") == "date-time"
    assert format_of("Job", "createdAt") == "date-time"
    assert format_of("PhotoUploaded", "timestamp") == "date-time"
    assert format_of("StageFailedData", "retryAt") == "date-time"
    assert format_of("Photo", "takenAt") is None  # local times, without an offset
    assert format_of("Exposure", "time") is None  # a fraction of a second


async def test_each_body_has_an_example_that_its_schema_allows(document: dict[str, Any]) -> None:
    schemas = document["components"]
    for name, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media_type, media in (
            each for body in bodies for each in body.get("content", {}).items()
        ):
            if media_type in ("application/json", "multipart/form-data"):
                check_example(media["example"], media["schema"], schemas, name)
            if media_type == "application/problem+json":
                for code, reference in media["examples"].items():
                    assert reference["$ref"] == f"#/components/examples/{code}"
                    problem = schemas["examples"][code]["value"]
                    assert problem["code"] == code
                    check_example(problem, media["schema"], schemas, name)
        for parameter in operation.get("parameters", ()):
            if "example" in parameter:
                check_example(parameter["example"], parameter["schema"], schemas, name)


def check_example(
    example: Any, schema: dict[str, Any], components: dict[str, Any], name: str
) -> None:
    validator = OAS31Validator(
        {**schema, "components": components}, format_checker=oas31_format_checker
    )
    untyped: Any = validator
    faults = [fault.message for fault in untyped.iter_errors(example)]
    assert faults == [], f"{name}: {example}"


def test_the_readme_names_the_types_of_events() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()

    named = set(
        re.findall(
            r"`((?:photo|session|pipeline|client|access|webhook|projections|log)\.[a-z.]+)`", readme
        )
    )

    assert named == set(EVENT_TYPES)


async def test_an_optional_body_is_not_required(
    document: dict[str, Any],
) -> None:
    path = document["paths"]["/api/photos/{photoId}/reprocess"]

    assert not path["post"]["requestBody"].get("required")


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/api/photos?status=ready", "Use queued, processing, completed or failed."),
        (
            "/api/ops/dead-letters?category=bad",
            "Use temporary, resource, data, logic, security or configuration.",
        ),
    ],
)
async def test_an_invalid_choice_is_rejected_with_the_valid_ones(
    gateway: Gateway, path: str, advice: str
) -> None:
    answer = await gateway.client.get(path, headers=gateway.bearer("operator"))

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "invalid-request")
    assert problem["advice"] == advice


async def test_it_is_valid(document: dict[str, Any]) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


async def test_answers_without_a_body_describe_none(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) in (204, 304):
                assert "content" not in response, name
