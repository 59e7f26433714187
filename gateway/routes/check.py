"""``POST /api/photos/check``: which files a client already has, by their SHA-256."""

from typing import Annotated

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from gateway.commands import NO_ANSWER, naming_the_log
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import writer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only

MOST = 1_000
"""The most files of one request."""

BODY_MAX = 128 * 1024

Sha256 = Annotated[
    str,
    msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 hexadecimal digits in lower case"),
]


class FileCheck(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """The SHA-256 of each file, in lower-case hex."""

    sha256: Annotated[list[Sha256], msgspec.Meta(min_length=1, max_length=MOST)]


class KnownFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file that the client has, and its photo."""

    sha256: str
    photo_id: str


class KnownFiles(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The files that the client already has, in the order of the request."""

    known: list[KnownFile]


@post(
    "/api/photos/check",
    guards=[allowed(writer), only()],
    request_max_body_size=BODY_MAX,
    status_code=200,
    responses=problems(
        *("missing-token", "forbidden", "not-json", "body-too-large", "log-unavailable")
    ),
    tags=["photos"],
    summary="Find files that are already uploaded",
)
async def check_photos(
    request: Asked, deps: NamedDependency[Dependencies], data: JSONBody[FileCheck]
) -> KnownFiles:
    """Returns which of up to 1,000 files the client already has, so that it need not send them.

    Files of other clients do not count. The answer is the state of the log at this moment."""
    wanted = list(dict.fromkeys(data.sha256))
    with naming_the_log(deps.log, NO_ANSWER):
        found = await deps.log.holders_of(wanted, request.user.client_id)
    return KnownFiles(
        known=[
            KnownFile(sha256=sha256, photo_id=found[sha256]) for sha256 in wanted if sha256 in found
        ]
    )


ROUTES = (check_photos,)
