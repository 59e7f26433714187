"""Complete the OpenAPI document: the server's own checks, scopes, and headers of rate limits.

Litestar builds the document for the first request that asks for it. Building takes about as long as
all other steps of creating the application, so a starting gateway does not wait for it.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import OpenAPI

from gateway.access.route_scopes import ANYONE, BESIDES, NEEDS, PUBLIC
from gateway.http.limits import Limits
from gateway.http.rate_limit_headers import LIMIT_FIELD, POLICY_FIELD
from gateway.openapi.events import name_events
from gateway.openapi.examples import add_examples
from gateway.openapi.formats import add_formats
from gateway.openapi.names import name_parts
from gateway.openapi.strict_schema import complete

RETRY_AFTER = "Retry-After"

_HEADERS = {
    LIMIT_FIELD: (
        "One item for each rate limit that the request was charged to: `r` is the remaining quota, "
        "`t` the number of seconds until it is full again or, if none remains, until some is "
        "available. As in draft-ietf-httpapi-ratelimit-headers-09."
    ),
    POLICY_FIELD: (
        "The same rate limits: a quota of `q` refills completely in `w` seconds; "
        '`qu="content-bytes"` marks a quota in bytes.'
    ),
    RETRY_AFTER: "The number of seconds to wait before retrying.",
}

_LIMITED, _UNAVAILABLE = "429", "503"


@dataclass
class LimitedContract(OpenAPIConfig):
    """Create a document with the bounds of ``limits`` and with headers of problems.

    Litestar cannot describe headers of problems.
    """

    limits: Limits = field(default_factory=Limits)

    def to_openapi_schema(self) -> OpenAPI:
        made = super().to_openapi_schema()
        values = {each.name: getattr(made, each.name) for each in fields(made)}
        return _Document(**values, limits=self.limits)


@dataclass
class _Document(OpenAPI):
    limits: Limits = field(default_factory=Limits)

    @property
    def _exclude_fields(self) -> set[str]:
        return {"limits"}

    def to_schema(self) -> dict[str, Any]:
        complete(self, self.limits)
        document = super().to_schema()
        document["components"]["headers"] = {
            name: {
                "description": description,
                "schema": {"type": "integer" if name == RETRY_AFTER else "string"},
            }
            for name, description in _HEADERS.items()
        }
        for path, item in document["paths"].items():
            for method, operation in item.items():
                _name_scopes(operation, f"{method.upper()} {path}", document["security"])
                if _LIMITED in operation["responses"]:
                    _add_headers(operation["responses"])
        name_parts(document)
        name_events(document)
        add_formats(document)
        add_examples(document)
        return document


def _name_scopes(operation: dict[str, Any], route: str, default: list[dict[str, Any]]) -> None:
    """Name the scopes that an API key needs, as OpenAPI 3.1 names the roles of a caller."""
    need = NEEDS.get(route)
    if need is None or need in (PUBLIC, ANYONE):
        return
    sets = [[need, more] for more in BESIDES.get(route, ())] or [[need]]
    operation["security"] = [
        named
        for each in operation.get("security", default)
        for named in ([{"bearer": scopes} for scopes in sets] if "bearer" in each else [each])
    ]


def _add_headers(responses: dict[str, dict[str, Any]]) -> None:
    for status, response in responses.items():
        headers = response.setdefault("headers", {})
        waits = (RETRY_AFTER,) if status in (_LIMITED, _UNAVAILABLE) else ()
        for name in (LIMIT_FIELD, POLICY_FIELD, *waits):
            headers[name] = {"$ref": f"#/components/headers/{name}"}
