"""Change upload sessions by command, and check them before an upload is received."""

import hashlib
import uuid
from contextlib import suppress

from domain.rejections import SessionIsClosed
from domain.sessions.session import CloseSession, RecordDuplicate, SessionCommand, is_closed
from gateway.commands import MAYBE_RECORDED, context, naming_the_log
from gateway.dependencies import Asked, Dependencies
from projections.models import session_list
from projections.models.session_list import Known
from store.errors import StoreError, Unavailable
from store.log.position import Position
from store.log.sessions import Done, SessionLog

UPLOAD_ID = 16
"""Characters of the id of an upload in an event."""


async def check_open(
    deps: Dependencies, client_id: str, session_id: str, key: str | None = None
) -> None:
    """Return if the session seems to take uploads, so that one need not be received in vain.

    The append decides (``store/log/append.lua``): a session may be closed while an upload arrives,
    and the read model may be behind or away. An upload whose idempotency ``key`` was used before is
    only repeated, so it passes.

    Raises:
        SessionIsClosed: it takes no more uploads.
    """
    with suppress(StoreError):
        closed = await deps.reader.query(session_list.is_closed, client_id, session_id)
        if closed and not (key and await deps.log.has_command(client_id, key)):
            raise is_closed(session_id)


async def known_of(deps: Dependencies, client_id: str, session_id: str) -> Known:
    """Return the session as the read model has it; empty if there is no read model yet."""
    partition = deps.log.partition_of(client_id)
    try:
        return await deps.reader.query(session_list.known, client_id, session_id, partition)
    except Unavailable:  # the projector has not created the file yet
        return Known(line=None, without=None)


async def change(
    request: Asked, deps: Dependencies, command: SessionCommand, key: str | None = None
) -> Done:
    """Execute the command for the request's principal; see ``SessionLog`` for ``key``.

    Raises:
        AuthError: the token was revoked or has expired, or the session was ended.
        Rejected: the rules reject the command.
        Refused: ``log-unavailable``; the command may or may not have been recorded. ``log-full``.
    """
    await request.auth.still(request.user)
    if not isinstance(command, CloseSession):
        await deps.log_memory.check(deps.log, deps.limits, command.client_id)
    known = await known_of(deps, command.client_id, command.session_id)
    with naming_the_log(deps.log, MAYBE_RECORDED):
        return await SessionLog(deps.log).execute(
            command,
            context(request),
            without=known.without,
            idempotency_key=key,
            patience_s=deps.limits.append_patience_s,
        )


async def record_duplicate(
    request: Asked,
    deps: Dependencies,
    session_id: str,
    *,
    duplicate_of: str,
    filename: str,
    key: str | None,
) -> Position | None:
    """Count an upload of bytes that the client has; return the position of the event, if any.

    An upload counts once as long as its idempotency ``key`` is remembered, even if the session has
    been closed since. Raises as ``change``.
    """
    id_ = uuid.uuid4().hex if key is None else hashlib.sha256(key.encode()).hexdigest()
    command = RecordDuplicate(
        client_id=request.user.client_id,
        session_id=session_id,
        upload=id_[:UPLOAD_ID],
        duplicate_of=duplicate_of,
        original_filename=filename,
    )
    try:
        done = await change(request, deps, command, key)
    except SessionIsClosed:
        with naming_the_log(deps.log, MAYBE_RECORDED):
            if key is None or not await SessionLog(deps.log).was_counted(command):
                raise
        return None
    return done.after.position if done.changed else None
