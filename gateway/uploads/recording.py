"""Record an uploaded photo: find out whether it is new, store its bytes, append its event.

All ways to upload end here, so duplicates, idempotency keys, quotas and lost originals are treated
alike; see the table in ``gateway.routes.uploads``.
"""

import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar, assert_never

import anyio
import msgspec
from litestar import Response

from domain.clients.quotas import Quota
from domain.photo.commands import UploadPhoto
from domain.photo.events import PhotoUploaded
from domain.photo.state import Photo
from domain.photo.status import status_of
from domain.rejections import PhotoExists, Rejected
from gateway.commands import NOTHING_RECORDED, POSITION_HEADER, execute, naming_the_log
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import check_priority_allowed
from gateway.http.problems import Refused
from gateway.sessions.changing import record_duplicate
from gateway.state.upload_keys import key_reused
from gateway.uploads.forms import Form
from gateway.uploads.original_repair import damage_of_original, restore
from gateway.uploads.upload_ids import LIVES_MAX, first_life, ids_of
from store import log_context
from store.blobs.damaged import Damage
from store.blobs.interface import Blobs, Draft
from store.errors import Corrupt, StoreError, Unavailable
from store.log.log import Log
from store.log.outcome import Appended, Duplicate, KeyReused, Repeated, Unchanged
from store.log.position import Position

T = TypeVar("T")

logger = logging.getLogger("photolog.gateway")

PAUSE_S = 0.1
RECORDED_BEFORE = "An earlier request recorded this, but the log does not answer now."


class Upload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to an upload, with the ``position`` of the photo's last event."""

    photo_id: str
    job_id: str
    status: str
    duplicate: bool
    position: str


async def record(
    request: Asked, deps: Dependencies, draft: Draft, form: Form, key: str | None, quota: Quota
) -> Response[Upload]:
    """Record the photo whose bytes are all in ``draft``, and answer the upload.

    A duplicate counts in its session.

    Raises:
        Refused: ``idempotency-key-reused``, ``log-unavailable``, ``log-full``, ``scope-required``.
        Rejected: the rules or the ``quota`` reject the photo, or its session is closed.
        AuthError: the token has been revoked while the bytes arrived.
        Full: the storage or the log has no room.
    """
    answer = await _recorded(request, deps, draft, form, key, quota)
    if answer.content.duplicate and form.session_id is not None:
        counted = await record_duplicate(
            request,
            deps,
            form.session_id,
            duplicate_of=answer.content.photo_id,
            filename=form.filename,
            key=key,
        )
        if counted is not None:  # it comes after all events of the photo
            answer.headers[POSITION_HEADER] = str(counted)
    return answer


async def _recorded(
    request: Asked, deps: Dependencies, draft: Draft, form: Form, key: str | None, quota: Quota
) -> Response[Upload]:
    check_priority_allowed(request.user, form.priority)
    await request.auth.still(request.user)  # the body may have taken long
    await draft.flush()
    known = None if key else await _existing(deps, draft.sha256, request.user.client_id)
    if known is None:
        if key is not None:
            return await _record_keyed(request, deps, draft, form, key, quota)
        await draft.commit()
        blob_id = draft.key.rpartition("/")[2]
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
    first = await _patiently(
        deps, lambda: first_life(deps.reader, deps.log, client_id, key, draft.sha256)
    )
    for life in range(first, LIVES_MAX):
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
    """Return the client's photo with these bytes, if there is one; saves storing them twice."""
    return await _patiently(deps, lambda: _find_existing(deps.log, sha256, client_id))


async def _patiently(deps: Dependencies, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the log, and wait for it as a command does: a client should not have to send the bytes
    again because the log restarts.
    """
    give_up = time.monotonic() + deps.limits.append_patience_s
    with naming_the_log(deps.log, NOTHING_RECORDED):
        while True:
            try:
                return await ask()
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
