"""Uploads that continue after an interruption: tus 1.0, and the draft of the IETF.

See ``gateway.uploads.resumable``.
"""

import time
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from domain.moments import iso
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import writer
from gateway.http.limits import Limits
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from gateway.limits.throttling import APPEND, UPLOAD
from gateway.openapi.document import POSITION, IdempotencyKey
from gateway.openapi.resumable import ResumableAppend, ResumableCreation
from gateway.uploads.digests import wants_digest
from gateway.uploads.idempotency_keys import checked_key
from gateway.uploads.recording import Upload
from gateway.uploads.resumable.protocol import PATH, address_of, headers_of, is_draft
from gateway.uploads.resumable.uploads import Answer, ResumableUploads, position_of
from store.blobs.partial_state import Partial

_FOUND = (
    *("missing-token", "forbidden", "unsupported-tus-version"),
    *("upload-not-found", "upload-gone", "upload-locked"),
)
_RECORDED = (
    *("scope-required", "empty-file", "unsupported-type", "digest-mismatch", "session-closed"),
    *("idempotency-key-reused", "log-unavailable", "storage-unavailable", "storage-full"),
    *("quota-photos", "quota-bytes", "quota-jobs", "quota-idempotency-keys"),
)
_RECEIVED = (
    *("invalid-upload-length", "inconsistent-upload-length", "upload-too-large"),
    *("not-upload-bytes", "invalid-checksum", "invalid-digest", "checksum-mismatch"),
    *("upload-superseded", "upload-stalled", "busy", "quota-uploads"),
)
CREATION_PROBLEMS = (
    *(*_RECEIVED, *_RECORDED, *_FOUND, "upload-incomplete", "too-many-open-uploads"),
    *("invalid-upload-metadata", "invalid-upload-concat", "invalid-idempotency-key"),
    *("invalid-session", "invalid-priority", "unknown-pipeline", "invalid-last-modified"),
)
"""The codes of any request that creates a resumable upload."""


class UploadState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How far an upload is, in bytes. ``length`` is null until it is known.

    ``expiresAt`` is when an unfinished upload is removed; null for a finished one. The other fields
    are those of the photo; null until it is recorded.
    """

    upload_id: str
    offset: int
    length: int | None
    complete: bool
    expires_at: str | None
    photo_id: str | None
    job_id: str | None
    duplicate: bool | None
    position: str | None


class Bodiless(Response[None]):
    """An answer without a body, and so without its type; the framework would send ``null``."""

    def to_asgi_response(self, *args: Any, **options: Any) -> ASGIResponse:
        answer: ASGIResponse = cast("Any", super()).to_asgi_response(*args, **options)
        del answer.headers["content-type"]
        return answer


@post(
    PATH,
    guards=[allowed(writer), only()],
    opt=UPLOAD,
    operation_class=ResumableCreation,
    request_max_body_size=None,  # the upload has its own limits
    response_headers=[POSITION],
    responses={
        200: ResponseSpec(
            Upload, description="The photo that has these bytes", generate_examples=False
        ),
        201: ResponseSpec(None, description="The upload is created", generate_examples=False),
    }
    | problems(*CREATION_PROBLEMS),
    tags=["photos"],
    summary="Create a resumable upload",
)
async def create_upload(
    request: Asked,
    deps: NamedDependency[Dependencies],
    resumable: NamedDependency[ResumableUploads],
    idempotency_key: IdempotencyKey = None,
) -> Response[None]:
    """Answers 201 with the address of the upload in `Location`, as tus 1.0 demands, and no body.

    The body may have the first bytes, or all. A request with `Upload-Complete` instead of
    `Tus-Resumable` follows draft-ietf-httpbis-resumable-upload-11: if its body is the whole file,
    the answer, with its body, is that of `POST /api/photos/upload`."""
    key = checked_key(request, idempotency_key)
    return creation_answer(request, deps.limits, await resumable.create(request, key))


@get(
    f"{PATH}/{{upload_id:str}}",
    guards=[allowed(writer), only()],
    response_headers=[POSITION],
    responses=problems(
        *(*_FOUND, "upload-unrecorded", "log-unavailable", "storage-unavailable"),
        *("scope-required", "digest-mismatch", "idempotency-key-reused", "session-closed"),
        reads=True,
    ),
    tags=["photos"],
    summary="Get the progress of an upload",
)
async def show_upload(
    request: Asked,
    deps: NamedDependency[Dependencies],
    resumable: NamedDependency[ResumableUploads],
    upload_id: FromPath[str],
) -> Response[UploadState]:
    """Returns how many bytes are durable, also in `Upload-Offset`; a client continues there.

    A request for an upload that still receives bytes ends the reception. If all bytes have arrived
    and the photo is not recorded yet, this records it first."""
    state = await resumable.look(request, upload_id)
    return Response(_shown(state), headers=_headers(request, state, deps.limits))


@patch(
    f"{PATH}/{{upload_id:str}}",
    guards=[allowed(writer), only()],
    opt=APPEND,
    operation_class=ResumableAppend,
    request_max_body_size=None,  # the upload has its own limits
    response_headers=[POSITION],
    status_code=201,
    responses={
        200: ResponseSpec(
            Upload, description="The photo that has these bytes", generate_examples=False
        ),
        204: ResponseSpec(None, description="The bytes are kept", generate_examples=False),
    }
    | problems(
        *(*_FOUND, *_RECEIVED, *_RECORDED),
        *("invalid-upload-offset", "upload-offset-mismatch", "upload-is-final"),
    ),
    tags=["photos"],
    summary="Continue an upload",
)
async def append_to_upload(
    request: Asked,
    deps: NamedDependency[Dependencies],
    resumable: NamedDependency[ResumableUploads],
    upload_id: FromPath[str],
) -> Response[Upload]:
    """Appends the body at `Upload-Offset`, which must be the offset of the upload.

    With the last byte the photo is recorded: `Content-Location` names it. A later request for the
    same upload ends this one; what has arrived is kept. A body with a digest is kept as a whole or
    not at all."""
    state, done = await resumable.append(request, upload_id)
    if done is not None and is_draft(request):
        return _recorded(request, state, done, deps.limits)
    kept = Response(None, status_code=204, headers=_headers(request, state, deps.limits))
    return cast("Response[Upload]", kept)


@delete(
    f"{PATH}/{{upload_id:str}}",
    guards=[allowed(writer), only()],
    responses=problems(*_FOUND, "log-unavailable"),
    tags=["photos"],
    summary="Delete an unfinished upload",
)
async def delete_upload(
    request: Asked,
    resumable: NamedDependency[ResumableUploads],
    upload_id: FromPath[str],
) -> None:
    """Ends the upload and removes its bytes. A photo that it has become stays."""
    await resumable.delete(request, upload_id)


def creation_answer(request: Asked, limits: Limits, created: Answer) -> Response[None]:
    """Return the answer to a request that has created an upload.

    It has no body, unless the draft's client has sent the whole file.
    """
    state, done = created
    if done is not None and is_draft(request):
        return cast("Response[None]", _recorded(request, state, done, limits))
    headers = _headers(request, state, limits) | {"Location": address_of(state)}
    return Bodiless(cast("None", b""), status_code=201, headers=headers)


def _recorded(
    request: Asked, state: Partial, done: Response[Upload], limits: Limits
) -> Response[Upload]:
    """Return the answer of a plain upload, with the headers that say that all has arrived."""
    headers = _headers(request, state, limits) | {
        "Location": f"/api/photos/{done.content.photo_id}"
    }
    return Response(done.content, status_code=done.status_code, headers=headers)


def _headers(request: Asked, state: Partial, limits: Limits) -> dict[str, str]:
    wanted = wants_digest(request)
    return headers_of(state, limits, time.time(), wants_digest=wanted) | position_of(state)


def _shown(state: Partial) -> UploadState:
    photo = state.recorded
    expires_at = iso(datetime.fromtimestamp(state.expires_s, UTC)) if photo is None else None
    return UploadState(
        upload_id=state.upload_id,
        offset=state.offset,
        length=state.length,
        complete=state.is_complete,
        expires_at=expires_at,
        photo_id=photo and photo.photo_id,
        job_id=photo and photo.job_id,
        duplicate=photo and photo.duplicate,
        position=photo and photo.position,
    )


ROUTES = (create_upload, show_upload, append_to_upload, delete_upload)
