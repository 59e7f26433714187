"""Uploads a photo: stores the bytes in a blob, then records the fact in the log.

| request | answer |
|---|---|
| bytes that are new to the client | 201, ``duplicate: false`` |
| bytes of a photo that the client has | 200, ``duplicate: true``, that photo as it is now; \
  an original that the blob store had lost is restored |
| an ``Idempotency-Key`` that made a photo of these bytes | the first answer again, also 201 |
| an ``Idempotency-Key`` that found a photo of these bytes | 200, that photo as it is now |
| an ``Idempotency-Key`` that was used for other bytes | 422 ``idempotency-key-reused`` |
| an ``Idempotency-Key`` whose photo has been deleted | 422 ``idempotency-key-reused`` |
| bytes that would use the disk's reserve | 507 ``storage-full`` |
| an event that would use the log's reserve | 507 ``log-full`` |
| a photo that exceeds the quota | 507 ``quota-photos``, ``quota-bytes`` |
| too many uploads or jobs at once | 429 ``quota-jobs``, ``quota-uploads`` |
| too many ``Idempotency-Key`` values in 24 hours | 429 ``quota-idempotency-keys`` |
| a ``sessionId`` of a session that is closed | 409 ``session-closed`` |
| ``Upload-Complete``, and no form | as ``POST /api/uploads``: the body is the photo itself |
| ``Upload-Complete: ?1`` and a form | as without the header: the draft allows that |

The blob store decides ``storage-full`` (``store.blobs.folder``), and ``gateway.state.log_memory``
decides ``log-full``. Quotas are checked before the body is read, as far as possible, by
``gateway.limits.quotas``, and again by the append, which decides (``store/log/append.lua``). The
append lets duplicates and repeats pass, because they add nothing.

The blob is durable before the event that names it. If it is unknown whether the event was recorded,
the blob stays: ``photolog reconcile`` finds it if no event names it.
"""

import uuid
from functools import partial
from typing import cast

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from domain.clients.quotas import Quota
from gateway.commands import accepting
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import writer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from gateway.limits.quotas import Quotas
from gateway.limits.throttling import UPLOAD
from gateway.limits.upload_slots import Slots
from gateway.openapi.document import POSITION, IdempotencyKey, MultipartUpload
from gateway.routes.resumable_uploads import CREATION_PROBLEMS, creation_answer
from gateway.sessions.changing import check_open
from gateway.uploads.forms import least_file_bytes, receive_form
from gateway.uploads.idempotency_keys import checked_key
from gateway.uploads.original_drafts import check_storage, draft_original
from gateway.uploads.recording import Upload, record
from gateway.uploads.resumable.uploads import ResumableUploads
from store.blobs.interface import original_key


@post(
    "/api/photos/upload",
    guards=[allowed(writer), only()],
    opt=UPLOAD,
    operation_class=MultipartUpload,
    request_max_body_size=None,  # the form has its own limits
    response_headers=[POSITION],
    responses={
        200: ResponseSpec(
            Upload, description="The photo that has these bytes", generate_examples=False
        ),
    }
    | problems(
        *("missing-file", "empty-file", "too-many-files", "too-many-fields", "field-too-large"),
        *("malformed-multipart", "invalid-session", "invalid-priority", "unknown-pipeline"),
        "invalid-last-modified",
        *(
            "unknown-field",
            "invalid-idempotency-key",
            "missing-token",
            "forbidden",
            "scope-required",
        ),
        *("upload-stalled", "session-closed"),
        *("upload-too-large", "not-multipart", "unsupported-type", "idempotency-key-reused"),
        *("busy", "log-unavailable", "storage-unavailable", "storage-full"),
        *("quota-photos", "quota-bytes", "quota-jobs", "quota-uploads", "quota-idempotency-keys"),
        *CREATION_PROBLEMS,
    ),
    tags=["photos"],
    summary="Upload a photo",
)
async def upload(
    request: Asked,
    deps: NamedDependency[Dependencies],
    slots: NamedDependency[Slots],
    quotas: NamedDependency[Quotas],
    resumable: NamedDependency[ResumableUploads],
    idempotency_key: IdempotencyKey = None,
) -> Response[Upload]:
    """Answers when the photo is durable and recorded; its pipeline runs afterwards.

    With `Upload-Complete` (draft-ietf-httpbis-resumable-upload-11) the body is the photo itself, or
    its beginning, and the upload can be continued as one created by `POST /api/uploads`."""
    client_id = request.user.client_id
    key = checked_key(request, idempotency_key)
    if "upload-complete" in request.headers and request.content_type[0] != "multipart/form-data":
        answer = creation_answer(request, deps.limits, await resumable.create(request, key))
        return cast("Response[Upload]", answer)  # without a body until the last byte has arrived
    await accepting(deps, request.user)
    await deps.log_memory.check(deps.log, deps.limits, request.user.client_id)
    await check_storage(deps.blobs)
    quota = quotas.of(client_id)
    async with slots.one(client_id, deps.limits.upload_patience_s, most=quota.uploads):
        room = await quotas.room(client_id, least_file_bytes(request, deps.limits), key)
        return await _receive(request, deps, key, quota, room)


async def _receive(
    request: Asked, deps: Dependencies, key: str | None, quota: Quota, room: int | None
) -> Response[Upload]:
    async with draft_original(deps.blobs, original_key(str(uuid.uuid4()))) as draft:
        check = partial(check_open, deps, request.user.client_id, key=key)
        form = await receive_form(request, draft, deps.limits, room, check)
        return await record(request, deps, draft, form, key, quota)


ROUTES = (upload,)
