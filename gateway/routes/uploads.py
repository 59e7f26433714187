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

Quotas are checked before the body is read, as far as possible, and again by the append. The append
lets duplicates and repeats pass, because they add nothing.

The blob is durable before the event that names it. If it is unknown whether the event was recorded,
the blob stays: ``photolog reconcile`` finds it if no event names it.
"""

import logging
import time
import uuid
from contextlib import suppress
from typing import assert_never

import anyio
import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from domain.clients.quotas import Quota
from domain.photo.commands import UploadPhoto
from domain.photo.events import PhotoUploaded
from domain.photo.state import Photo
from domain.photo.status import status_of
from domain.rejections import PhotoExists, Rejected
from gateway.commands import NOTHING_RECORDED, POSITION_HEADER, accepting, execute, naming_the_log
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import check_priority_allowed, writer
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import allowed, only
from gateway.limits.quotas import Quotas
from gateway.limits.throttling import UPLOAD
from gateway.limits.upload_slots import Slots
from gateway.openapi.document import POSITION, IdempotencyKey, MultipartUpload
from gateway.state.upload_keys import key_reused
from gateway.uploads.forms import Form, least_file_bytes, receive_form
from gateway.uploads.original_drafts import check_storage, draft_original
from gateway.uploads.original_repair import damage_of_original, restore
from gateway.uploads.upload_ids import LIVES, first_life, ids_of
from store import log_context
from store.blobs.damaged import Damage
from store.blobs.interface import Blobs, Draft, original_key
from store.errors import Corrupt, StoreError, Unavailable
from store.log.log import Log
from store.log.outcome import Appended, Duplicate, KeyReused, Repeated, Unchanged
from store.log.position import Position

logger = logging.getLogger("photolog.gateway")

KEY_MAX = 200
PAUSE_S = 0.1
RECORDED_BEFORE = "An earlier request recorded this, but the log does not answer now."


class Upload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to an upload, with the ``position`` of the photo's last event."""

    photo_id: str
    job_id: str
    status: str
    duplicate: bool
    position: str


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
        "upload-stalled",
        *("upload-too-large", "not-multipart", "unsupported-type", "idempotency-key-reused"),
        *("busy", "log-unavailable", "storage-unavailable", "storage-full"),
        *("quota-photos", "quota-bytes", "quota-jobs", "quota-uploads", "quota-idempotency-keys"),
    ),
    tags=["photos"],
    summary="Upload a photo",
)
async def upload(
    request: Asked,
    deps: NamedDependency[Dependencies],
    slots: NamedDependency[Slots],
    quotas: NamedDependency[Quotas],
    idempotency_key: IdempotencyKey = None,
) -> Response[Upload]:
    """Answers when the photo is durable and recorded; its pipeline runs afterwards."""
    client_id = request.user.client_id
    key = _checked_key(request, idempotency_key)
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
    blob_id = str(uuid.uuid4())
    async with draft_original(deps.blobs, original_key(blob_id)) as draft:
        form = await receive_form(request, draft, deps.limits, room)
        check_priority_allowed(request.user, form.priority)
        request.auth.confirm(request.user)  # the body may have taken long
        await draft.flush()
        known = None if key else await _existing(deps, draft.sha256, request.user.client_id)
        if known is None:
            if key is not None:
                return await _record_keyed(request, deps, draft, form, key, quota)
            await draft.commit()
            command = _command(request, deps, form, draft, (blob_id, str(uuid.uuid4())))
            return await _record(request, deps, command, None, quota)
        photo, position = known
        damage = await damage_of_original(deps, photo)
        if damage is not None:
            await draft.commit()
            restored = await _restore_original(request, deps, photo, draft.key, damage)
            position = restored or position
        return _duplicate(photo, position)


async def _record_keyed(
    request: Asked, deps: Dependencies, draft: Draft, form: Form, key: str, quota: Quota
) -> Response[Upload]:
    """Record the photo under the ids derived from its key."""
    client_id, log_id = request.user.client_id, deps.log.log_id
    deps.upload_keys.check(client_id, key, draft.sha256)
    await draft.commit()
    for life in range(await first_life(deps.reader, log_id, client_id, key, draft.sha256), LIVES):
        command = _command(
            request, deps, form, draft, ids_of(log_id, client_id, key, draft.sha256, life)
        )
        with suppress(PhotoExists):  # a deleted one: else its bytes would have been found
            return await _record(request, deps, command, key, quota)
    await _discard(deps.blobs, draft.key)
    raise Refused("idempotency-key-reused", "This Idempotency-Key has made too many photos.")


async def _record(
    request: Asked,
    deps: Dependencies,
    command: UploadPhoto,
    key: str | None,
    quota: Quota,
) -> Response[Upload]:
    """Record the photo of a stored blob; if it raises PhotoExists, the blob stays."""
    try:
        outcome = await execute(
            request, deps, command, command.client_id, idempotency_key=key, quota=quota
        )
    except PhotoExists:
        raise
    except Rejected:
        await _discard(deps.blobs, command.key)
        raise
    match outcome:
        case Appended() | Unchanged():
            answer = _created(command.photo_id, command.job_id, outcome.position)
        case Repeated() | Duplicate() | KeyReused():
            try:
                answer = await _found(request, deps, command, outcome)
            finally:
                await _discard(deps.blobs, command.key)
        case _:
            assert_never(outcome)
    if key is not None and answer.status_code == 201:
        most = deps.limits.upload_keys_remembered
        deps.upload_keys.note(command.client_id, key, command.sha256, most=most)
    return answer


async def _found(
    request: Asked,
    deps: Dependencies,
    command: UploadPhoto,
    outcome: Repeated | Duplicate | KeyReused,
) -> Response[Upload]:
    """Answer with the existing photo; if its original is lost, restore it from these bytes."""
    match outcome:
        case KeyReused():
            raise key_reused()
        case Repeated(photo_id=photo_id, position=position):
            answer = await _repeated(deps.log, position, command.sha256)
            with naming_the_log(deps.log, RECORDED_BEFORE):
                photo = (await deps.log.load(photo_id, command.client_id, safe=True)).photo
            if photo is not None:
                _check_not_deleted(photo)
                await restore(request, deps, photo, command.key)
            return answer
        case Duplicate(photo=photo, position=position):
            _check_not_deleted(photo)
            restored = await restore(request, deps, photo, command.key)
            return _duplicate(photo, restored or position)
        case _:
            assert_never(outcome)


def _check_not_deleted(photo: Photo) -> None:
    """Refuse a deleted photo: an answer must not report it as queued or present."""
    if photo.deleted:
        raise Refused(
            "idempotency-key-reused", "The photo of this Idempotency-Key has been deleted."
        )


async def _restore_original(
    request: Asked, deps: Dependencies, photo: Photo, key: str, damage: Damage
) -> Position | None:
    try:
        return await restore(request, deps, photo, key, damage)
    finally:
        await _discard(deps.blobs, key)


async def _discard(blobs: Blobs, key: str) -> None:
    """Remove a blob that no event names; if that fails, ``reconcile`` removes it later."""
    try:
        await blobs.delete(key)
    except StoreError as error:
        logger.warning("unused blob %s could not be deleted: %s", key, error)


def _command(
    request: Asked, deps: Dependencies, form: Form, draft: Draft, ids: tuple[str, str]
) -> UploadPhoto:
    photo_id, job_id = ids
    return UploadPhoto(
        photo_id=photo_id,
        job_id=job_id,
        client_id=request.user.client_id,
        session_id=form.session_id,
        original_filename=form.filename,
        mime_type=form.mime_type,
        file_size=draft.size,
        sha256=draft.sha256,
        bucket=deps.blobs.bucket,
        key=draft.key,
        pipeline=form.pipeline,
        priority=form.priority,
        last_modified_ms=form.last_modified_ms,
    )


async def _existing(
    deps: Dependencies, sha256: str, client_id: str
) -> tuple[Photo, Position] | None:
    """Return the client's photo with these bytes, if there is one; saves storing them twice.

    Waits for the log as a command does: a client should not have to send the bytes again because
    the log restarts.
    """
    give_up = time.monotonic() + deps.limits.append_patience_s
    with naming_the_log(deps.log, NOTHING_RECORDED):
        while True:
            try:
                return await _find_existing(deps.log, sha256, client_id)
            except Unavailable:
                if time.monotonic() + PAUSE_S > give_up:
                    raise
                await anyio.sleep(PAUSE_S)


async def _find_existing(log: Log, sha256: str, client_id: str) -> tuple[Photo, Position] | None:
    holder = await log.holder_of(sha256, client_id)
    loaded = await log.load(holder, client_id, safe=True) if holder else None
    if loaded is None or loaded.photo is None or loaded.position is None or loaded.photo.deleted:
        return None
    return loaded.photo, loaded.position


async def _repeated(log: Log, position: Position, sha256: str) -> Response[Upload]:
    """Answer as the first time, from the event that the key's upload recorded."""
    with naming_the_log(log, RECORDED_BEFORE):
        found = await log.at(position)
    if found is None:
        raise Corrupt(f"the event at {position} is not in the log")
    first = found.event.data
    if not isinstance(first, PhotoUploaded) or first.sha256 != sha256:
        raise key_reused()
    _log_existing(first.photo_id, first.job_id)
    return _created(first.photo_id, first.job_id, position)


def _created(photo_id: str, job_id: str, position: Position | None) -> Response[Upload]:
    return _answer(
        201,
        Upload(
            photo_id=photo_id,
            job_id=job_id,
            status="queued",
            duplicate=False,
            position=str(position),
        ),
    )


def _duplicate(photo: Photo, position: Position) -> Response[Upload]:
    _log_existing(photo.photo_id, photo.job.job_id)
    return _answer(
        200,
        Upload(
            photo_id=photo.photo_id,
            job_id=photo.job.job_id,
            status=status_of(photo.job),
            duplicate=True,
            position=str(position),
        ),
    )


def _log_existing(photo_id: str, job_id: str) -> None:
    """Log an upload that appends no event."""
    about = msgspec.structs.replace(log_context.current(), photo_id=photo_id, job_id=job_id)
    logger.info("an upload matched an existing photo", extra={"subject": about})


def _answer(status_code: int, answer: Upload) -> Response[Upload]:
    headers = {
        POSITION_HEADER: answer.position,
        "Location": f"/api/photos/{answer.photo_id}",
    }
    return Response(answer, status_code=status_code, headers=headers)


def _checked_key(request: Asked, key: str | None) -> str | None:
    if len(set(request.headers.getall("idempotency-key", []))) > 1:
        raise Refused(
            "invalid-idempotency-key",
            "The request has several Idempotency-Key headers.",
            advice="Send one.",
        )
    if key is not None and not (0 < len(key) <= KEY_MAX and key.isascii() and key.isprintable()):
        raise Refused(
            "invalid-idempotency-key",
            f"The Idempotency-Key must have 1 to {KEY_MAX} printable ASCII characters.",
        )
    return key


ROUTES = (upload,)
