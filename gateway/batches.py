"""One command for each of many photos: what the rules refuse is told, and the others go on."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from domain.commands import PhotoCommand
from domain.rejections import Rejected
from gateway.commands import execute
from gateway.dependencies import Asked, Dependencies
from store.position import Position


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
    """Give every photo its command, one after the other.

    Raises:
        Refused: ``log-unavailable``; some may have been recorded, and can be given again.
    """
    batch = Batch(skipped=[], positions=[])
    for target in targets:
        try:
            command = await command_for(target)
            outcome = await execute(request, deps, command, target.client_id)
        except Rejected as refusal:
            batch.skipped.append(Skipped(photo_id=target.photo_id, code=refusal.code))
            continue
        batch.recorded += bool(outcome.events)
        batch.already += not outcome.events
        if outcome.position is not None:
            batch.positions.append(outcome.position)
    return batch
