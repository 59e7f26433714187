"""One command for each of many photos: what the rules refuse is told, and the others go on."""

from collections.abc import Awaitable, Callable, Sequence

import anyio
import msgspec

from domain.photo.commands import PhotoCommand
from domain.rejections import Rejected
from gateway.commands import execute
from gateway.dependencies import Asked, Dependencies
from store.log.outcome import Appended, Outcome
from store.log.position import Position

AT_ONCE = 16
"""Commands of one batch that are under way: they share the log's writes to its disk."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A photo and whose it is."""

    photo_id: str
    client_id: str


class Skipped(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``code`` is that of the problem that the photo alone would have met."""

    photo_id: str
    code: str


class Batch(msgspec.Struct, kw_only=True):
    """``recorded`` commands led to events; what ``already`` was so did not."""

    recorded: int = 0
    already: int = 0
    skipped: list[Skipped]
    positions: list[Position]


async def execute_each(
    request: Asked,
    deps: Dependencies,
    targets: Sequence[Target],
    command_for: Callable[[Target], Awaitable[PhotoCommand]],
) -> Batch:
    """Give every photo its command, ``AT_ONCE`` at a time; what is told keeps their order.

    Raises:
        Refused: ``log-unavailable``; some may have been recorded, and can be given again.
    """
    found: dict[Target, Outcome | Rejected] = {}
    turns = iter(dict.fromkeys(targets))

    async def take_turns() -> None:
        for target in turns:
            try:
                command = await command_for(target)
                found[target] = await execute(request, deps, command, target.client_id)
            except Rejected as refusal:
                found[target] = refusal

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(min(AT_ONCE, len(targets))):
                tasks.start_soon(take_turns)
    except ExceptionGroup as errors:  # one is enough to tell; the others ended with it
        raise errors.exceptions[0] from errors
    return _batch(targets, found)


def _batch(targets: Sequence[Target], found: dict[Target, Outcome | Rejected]) -> Batch:
    batch = Batch(skipped=[], positions=[])
    for target in dict.fromkeys(targets):
        outcome = found[target]
        if isinstance(outcome, Rejected):
            batch.skipped.append(Skipped(photo_id=target.photo_id, code=outcome.code))
            continue
        is_recorded = isinstance(outcome, Appended)
        batch.recorded += is_recorded
        batch.already += not is_recorded
        if outcome.position is not None:
            batch.positions.append(outcome.position)
    return batch
