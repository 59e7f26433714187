"""Describe the gateway in OpenAPI 3.1, including what signatures cannot express."""

from dataclasses import dataclass
from typing import Annotated

from litestar import Router
from litestar.datastructures import ResponseHeader
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Components,
    License,
    OpenAPIMediaType,
    Operation,
    RequestBody,
    Schema,
    SecurityScheme,
    Tag,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import HeaderParameter
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition

from domain.photo.commands import FIRST_MODIFIED_MS, LAST_MODIFIED_MS
from domain.pipeline.stages import DEFAULT_PIPELINE, DEFAULT_PRIORITY, PIPELINES
from gateway.access.cookies import COOKIE, SECURE_COOKIE
from gateway.commands import POSITION_HEADER
from gateway.http import session_ids
from gateway.http.auth import PRIORITY_HIGH
from gateway.http.limits import Limits
from gateway.openapi.limit_headers import LimitedContract

VERSION = "1.0.0"
"""The version of the HTTP contract, not of the program."""

BEARER, COOKIE_SCHEME, TICKET_SCHEME = "bearer", "cookie", "ticket"

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description=(
            "1 to 200 printable ASCII characters. For 24 hours the same key returns the same "
            "answer. With other bytes, or after the photo was deleted, it returns 422 "
            "`idempotency-key-reused`."
        ),
    ),
]


# Litestar derives the schema of a header from the type of its value.
POSITION = ResponseHeader(
    name=POSITION_HEADER,
    value="",
    description="The log position of this command's result; `?after=` waits for it.",
    documentation_only=True,
)

ETAG = ResponseHeader(
    name="ETag",
    value="",
    description="The validator for `If-Match` and `If-None-Match`.",
    documentation_only=True,
)

LAST_MODIFIED = ResponseHeader(
    name="Last-Modified",
    value="",
    description="The validator for `If-Unmodified-Since` and `If-Modified-Since`.",
    documentation_only=True,
)

NOT_MODIFIED = {
    304: ResponseSpec(None, description="The client's copy is current", generate_examples=False)
}


def _upload_form() -> Schema:
    return Schema(
        type=OpenAPIType.OBJECT,
        required=["file"],
        additional_properties=False,
        properties={
            "file": Schema(
                type=OpenAPIType.STRING,
                format=OpenAPIFormat.BINARY,
                description="The photo. The server detects its format from its bytes.",
            ),
            "sessionId": Schema(type=OpenAPIType.STRING, pattern=f"^({session_ids.PATTERN})?$"),
            "pipeline": Schema(
                type=OpenAPIType.STRING, enum=list(PIPELINES), default=DEFAULT_PIPELINE
            ),
            "priority": Schema(
                type=OpenAPIType.INTEGER,
                minimum=1,
                maximum=10,
                default=DEFAULT_PRIORITY,
                description=f"1 is first, 10 last; 1 to 3 require the scope `{PRIORITY_HIGH}`.",
            ),
            "lastModified": Schema(
                type=OpenAPIType.INTEGER,
                minimum=FIRST_MODIFIED_MS,
                maximum=LAST_MODIFIED_MS,
                description=(
                    "When the file was last modified, in milliseconds since 1970 (UTC), as "
                    "browsers have it in `File.lastModified`. It is the time taken of a photo that "
                    "does not tell one itself."
                ),
            ),
        },
    )


@dataclass
class MultipartUpload(Operation):
    """Describe the form of a route that reads its body as a stream."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(
            required=True,
            content={"multipart/form-data": OpenAPIMediaType(schema=_upload_form())},
        )


@dataclass
class OptionalBody(Operation):
    """Mark the body of a route as optional."""

    def __post_init__(self) -> None:
        if isinstance(self.request_body, RequestBody):
            self.request_body.required = False


def _operation_id(
    handler: HTTPRouteHandler, method: Method, _path: list[str | PathParameterDefinition]
) -> str:
    """Return the name of the route's function, which is unique in the package."""
    first, *rest = handler.handler_name.split("_")
    name = first + "".join(word.title() for word in rest)
    return f"{name}Head" if method == "HEAD" else name


def description(limits: Limits) -> OpenAPIConfig:
    """Return the settings of the document, with the bounds of ``limits``."""
    return LimitedContract(
        limits=limits,
        title="Photolog",
        version=VERSION,
        summary="Photos in, events out.",
        license=License(name="MIT", identifier="MIT"),
        description=(
            "Every command answers with `X-Log-Position`; a query with `?after=` set to that "
            "position sees the command's result. `HEAD` works wherever `GET` does, and `OPTIONS` "
            "lists the methods of an address. Preconditions (RFC 9110, section 13) apply "
            "everywhere: a photo and its files have an `ETag`, and a command whose `If-Match`, "
            "`If-None-Match` or `If-Unmodified-Since` is false changes nothing. Errors are problem "
            "documents (RFC 9457) with a stable `code`; each address lists its own. Any address "
            "may also answer `malformed-request`, `headers-too-large`, `not-found`, "
            "`method-not-allowed`, `body-too-large`, `body-incomplete`, `body-stalled`, "
            "`upload-stalled`, "
            "`expectation-failed`, `unsupported-transfer-coding`, `too-many-connections`, "
            "`too-many-connections-from-address` or `too-many-connections-of-client`. The version "
            "above is that of this contract, not of the program. The header `RateLimit` reports "
            "the remaining quota of each rate limit that a request was charged to; when one is "
            "used up, the answer is 429 `rate-limited` with `Retry-After`."
        ),
        openapi_router=Router(
            "/schema", route_handlers=[], include_in_schema=False, opt={"exclude_from_auth": True}
        ),
        operation_id_creator=_operation_id,
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        use_handler_docstrings=True,
        security=[{BEARER: []}, {COOKIE_SCHEME: []}],
        components=Components(
            security_schemes={
                BEARER: SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT or API key",
                    description=(
                        "A token of `photolog token` (a JWT), or an API key of `photolog keys` "
                        "(`plk_…`). Each operation names the scope that a key needs."
                    ),
                ),
                TICKET_SCHEME: SecurityScheme(
                    type="apiKey",
                    name="ticket",
                    security_scheme_in="query",
                    description="A ticket of `POST /api/events/tickets`; it works once.",
                ),
                COOKIE_SCHEME: SecurityScheme(
                    type="apiKey",
                    name=COOKIE,
                    security_scheme_in="cookie",
                    description=(
                        f"Set by `POST /api/login`, over TLS as `{SECURE_COOKIE}`; valid only for "
                        "requests from this site."
                    ),
                ),
            }
        ),
        tags=[
            Tag(name="photos", description="Upload, find, read, process and delete photos."),
            Tag(name="sessions", description="Group uploads, and see what came of them."),
            Tag(name="jobs", description="Follow the processing of photos."),
            Tag(name="events", description="Receive events as they happen."),
            Tag(name="webhooks", description="Let events be sent to a URL as they happen."),
            Tag(name="operations", description="Operate the system; auditors have read access."),
            Tag(name="login", description="Sign browsers in and out, and revoke tokens."),
            Tag(name="health", description="Check the health of the system."),
        ],
    )
