"""Giving a command to the log: who gives it, and what is said when the log is away."""

from datetime import UTC, datetime

from domain.commands import PhotoCommand
from domain.events import Context
from gateway.auth import Principal
from gateway.dependencies import Asked, Dependencies
from gateway.problems import Refused
from gateway.tracing import trace_id
from store.errors import Unavailable
from store.log import Outcome
from store.position import Position

POSITION_HEADER = "X-Log-Position"
SOURCE = "gateway"


def context(request: Asked) -> Context:
    """Who asks, in which trace, and the time now."""
    principal: Principal = request.user
    return Context(
        now=datetime.now(UTC),
        source=SOURCE,
        actor=principal.actor,
        trace_id=trace_id(request.scope),
    )


async def execute(
    request: Asked,
    deps: Dependencies,
    command: PhotoCommand,
    client_id: str,
    *,
    idempotency_key: str | None = None,
) -> Outcome:
    """``Log.execute`` in the name of who asks, for a photo of ``client_id``.

    Raises:
        Rejected: the rules refuse the command.
        Refused: ``log-unavailable``; the command may or may not have been recorded.
        Full: Redis takes no more.
    """
    try:
        return await deps.log.execute(
            command,
            client_id=client_id,
            context=context(request),
            idempotency_key=idempotency_key,
            patience_s=deps.limits.append_patience_s,
        )
    except Unavailable as error:
        detail = "The log does not answer: it may have recorded this, or not."
        raise Refused("log-unavailable", detail) from error


def position_header(position: Position | None) -> dict[str, str]:
    return {} if position is None else {POSITION_HEADER: str(position)}
