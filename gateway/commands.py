"""Executes commands for a request, and answers when the log is unavailable."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

from domain.clients.quotas import NO_QUOTA, Quota
from domain.photo.commands import CancelJob, DeletePhoto, DiscardFailure, PhotoCommand
from domain.photo.events import Context
from domain.pipeline.control import PROTECTING, ControlCommand
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import Principal, Role
from gateway.http.problems import Refused, retry_after
from gateway.http.tracing import trace_id
from store.errors import ArchiveAway, Replaced, Unavailable, WrongType
from store.log.control import ControlLog, ControlState
from store.log.log import Log
from store.log.outcome import Outcome, Requirement
from store.log.position import Position

POSITION_HEADER = "X-Log-Position"
SOURCE = "gateway"

ENDING_WORK = (DeletePhoto, CancelJob, DiscardFailure)
"""Commands on photos that are accepted while the log is nearly full: each can be done once."""

ARCHIVE_AWAY = "The photo storage, which has the archived part of the log, does not answer."
NOTHING_RECORDED = "The log does not answer. Nothing was recorded."
NO_ANSWER = "The log does not answer."
MAYBE_RECORDED = "The log does not answer. This may or may not have been recorded."


def context(request: Asked) -> Context:
    """Return the context of the request's events: actor, trace and the time now."""
    principal: Principal = request.user
    return Context(
        now=datetime.now(UTC),
        source=SOURCE,
        actor=principal.actor,
        trace_id=trace_id(request.scope),
    )


@contextmanager
def naming_the_log(log: Log, detail: str) -> Generator[None]:
    """Turn Unavailable into Refused, ``log-unavailable``, which names keys of a wrong type.

    ``detail`` says that the log does not answer, which is replaced if only its archive does not.
    """
    try:
        yield
    except Unavailable as error:
        headers = retry_after(log.redis.breaker)
        if isinstance(error, ArchiveAway):
            detail = detail.replace(NO_ANSWER, ARCHIVE_AWAY)
        if isinstance(error, Replaced | WrongType):
            detail = f"{detail} The reason: {error}."
        raise Refused("log-unavailable", detail, headers=headers) from error


async def accepting(deps: Dependencies, principal: Principal) -> None:
    """Return if the log appears to be available, for a command that has not started yet.

    A client's photos are all in one partition, so only that one is checked; for other roles the
    partition is not known yet. A command that has started retries instead, for
    ``append_patience_s``.

    Raises:
        Refused: ``log-unavailable``, at once or after one failed attempt to reach the log.
    """
    with naming_the_log(deps.log, NOTHING_RECORDED):
        await deps.log.check(principal.client_id if principal.role is Role.CLIENT else None)


async def execute(
    request: Asked,
    deps: Dependencies,
    command: PhotoCommand,
    client_id: str,
    *,
    idempotency_key: str | None = None,
    quota: Quota = NO_QUOTA,
    require: Requirement | None = None,
) -> Outcome:
    """Execute the command for the request's principal, on a photo of ``client_id``.

    Access that ends while its request is in progress changes nothing.

    Raises:
        AuthError: the token was revoked or has expired, or the session was ended.
        Rejected: the rules or the ``quota`` reject the command.
        Refused: ``log-unavailable``; the command may or may not have been recorded. ``log-full``.
        LogFull: Redis takes no more writes.
    """
    await request.auth.still(request.user)
    if not isinstance(command, ENDING_WORK):
        await deps.log_memory.check(deps.log, deps.limits, client_id)
    with naming_the_log(deps.log, MAYBE_RECORDED):
        return await deps.log.execute(
            command,
            client_id=client_id,
            context=context(request),
            idempotency_key=idempotency_key,
            quota=quota,
            require=require,
            patience_s=deps.limits.append_patience_s,
        )


async def steer(request: Asked, deps: Dependencies, command: ControlCommand) -> ControlState:
    """Execute a control command for the request's principal; raises as ``execute``."""
    await request.auth.still(request.user)
    if not isinstance(command, PROTECTING):
        await deps.log_memory.check(deps.log, deps.limits)
    with naming_the_log(deps.log, MAYBE_RECORDED):
        return await ControlLog(deps.log).execute(
            command, context(request), patience_s=deps.limits.append_patience_s
        )


def position_header(*positions: Position | None) -> dict[str, str]:
    """Return the header with the last position of each partition; {} without any position."""
    last: dict[int, Position] = {}
    for position in positions:
        if position is not None:
            last[position.partition] = max(position, last.get(position.partition, position))
    return {POSITION_HEADER: ",".join(map(str, last.values()))} if last else {}
