"""Record the photo of a complete upload, by the very command of a plain one."""

import uuid
from collections.abc import Sequence

import msgspec
from litestar import Response

from domain.clients.quotas import Quota
from domain.rejections import SessionIsClosed
from gateway.commands import accepting
from gateway.dependencies import Asked, Dependencies
from gateway.http.problems import Refused
from gateway.uploads.forms import Form
from gateway.uploads.original_drafts import check_storage, draft_original
from gateway.uploads.recording import Upload, record
from store.blobs.interface import original_key
from store.blobs.partial_state import Ending, Partial, Recorded
from store.blobs.partials import PartialFile, Partials


async def finish(
    request: Asked,
    deps: Dependencies,
    state: Partial,
    files: Sequence[PartialFile],
    quota: Quota,
) -> tuple[Partial, Response[Upload]]:
    """Record the photo made of ``files``, and end the upload ``state`` and them.

    If this fails because a service is away, everything stays as it is, and can be tried again: the
    idempotency key of the upload leads to the same photo.

    Raises:
        Refused: ``digest-mismatch``, and the upload has ended; or as ``record``.
        SessionIsClosed: the session was closed meanwhile, and the upload has ended.
        Rejected, AuthError, Full: as ``record``.
    """
    await accepting(deps, request.user)
    await deps.log_memory.check(deps.log, deps.limits, request.user.client_id)
    await check_storage(deps.blobs)
    async with draft_original(deps.blobs, original_key(str(uuid.uuid4()))) as draft:
        for file in files:
            async for chunk in file.read():
                await draft.write(chunk)
        await draft.flush()
        if state.sha256 not in (None, draft.sha256):
            await _end_all(deps.partials, state, files, None)
            raise Refused(
                "digest-mismatch",
                f"The file has the SHA-256 {draft.sha256} instead of {state.sha256}.",
            )
        try:
            answer = await record(request, deps, draft, _form(state), state.key, quota)
        except SessionIsClosed:  # for good
            await _end_all(deps.partials, state, files, None)
            raise
    state = msgspec.structs.replace(state, sha256=draft.sha256)
    ended = await _end_all(deps.partials, state, files, answer.content)
    return ended, answer


async def _end_all(
    partials: Partials, state: Partial, files: Sequence[PartialFile], answer: Upload | None
) -> Partial:
    """End the upload and then its parts, so that a crash in between leaves those that repeat it."""
    recorded = answer and Recorded(
        photo_id=answer.photo_id,
        job_id=answer.job_id,
        duplicate=answer.duplicate,
        position=answer.position,
    )
    ending: Ending = "finished" if answer else "rejected"
    ended = await partials.end(state, ending, recorded)
    for file in files:
        if file.state.upload_id != state.upload_id:
            await file.end_as(ending)
    return ended


def _form(state: Partial) -> Form:
    return Form(
        session_id=state.session_id,
        pipeline=state.pipeline,
        priority=state.priority,
        last_modified_ms=state.last_modified_ms,
        filename=state.filename,
        mime_type=state.mime_type,
    )
