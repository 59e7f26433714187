"""Run one command for each of many photos; report those that the rules reject, and continue."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import anyio
import msgspec

from domain.clients.quotas import NO_QUOTA, Quota
from domain.photo.commands import PhotoCommand
from domain.rejections import Rejected
from gateway.commands import execute
from gateway.dependencies import Asked, Dependencies
from store.log.outcome import Appended, Outcome
from store.log.position import Position

AT_ONCE = 16
"""Concurrent commands of one batch; they share the log's writes to disk."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A photo and the client that owns it."""

    photo_id: str
    client_id: str


class Skipped(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``code`` is the problem code that a command for this photo alone would have returned."""

    photo_id: str
    code: str


class Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The outcome for one photo; ``already`` means that nothing had to change.

    ``code`` is the problem of a photo that was ``skipped``, otherwise null.
    """

    photo_id: str
    outcome: Literal["done", "already", "skipped"]
    code: str | None = None


def result_of(skipped: Skipped) -> Result:
    return Result(photo_id=skipped.photo_id, outcome="skipped", code=skipped.code)


class Batch(msgspec.Struct, kw_only=True):
    """``recorded`` counts commands that appended events, ``already`` those that changed nothing."""

    recorded: int = 0
    already: int = 0
    skipped: list[Skipped]
    results: list[Result] = []
    positions: list[Position]


async def execute_each(
    request: Asked,
    deps: Dependencies,
    targets: Sequence[Target],
    command_for: Callable[[Target], Awaitable[PhotoCommand]],
    *,
    quota: Quota = NO_QUOTA,
) -> Batch:
    """Run each photo's command, ``AT_ONCE`` concurrently; results keep the order of ``targets``.

    A command beyond the ``quota`` of its client is skipped.

    Raises:
        Refused: ``log-unavailable``; some commands may have been recorded. Repeating all is safe.
    """
    found: dict[Target, Outcome | Rejected] = {}
    turns = iter(dict.fromkeys(targets))

    async def take_turns() -> None:
        for target in turns:
            try:
                command = await command_for(target)
                found[target] = await execute(request, deps, command, target.client_id, quota=quota)
            except Rejected as refusal:
                found[target] = refusal

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(min(AT_ONCE, len(targets))):
                tasks.start_soon(take_turns)
    except ExceptionGroup as errors:  # the first is enough; it ended the others
        raise errors.exceptions[0] from errors
    return _batch(targets, found)


def _batch(targets: Sequence[Target], found: dict[Target, Outcome | Rejected]) -> Batch:
    batch = Batch(skipped=[], positions=[])
    for target in dict.fromkeys(targets):
        outcome = found[target]
        if isinstance(outcome, Rejected):
            batch.skipped.append(Skipped(photo_id=target.photo_id, code=outcome.code))
            batch.results.append(result_of(batch.skipped[-1]))
            continue
        is_recorded = isinstance(outcome, Appended)
        batch.recorded += is_recorded
        batch.already += not is_recorded
        batch.results.append(
            Result(photo_id=target.photo_id, outcome="done" if is_recorded else "already")
        )
        if outcome.position is not None:
            batch.positions.append(outcome.position)
    return batch
