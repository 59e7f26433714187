"""Reading the read model: as it is, or at least as new as ``?after=<position>``."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Concatenate, ParamSpec, TypeVar

import anyio
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import Principal, Role
from gateway.http.problems import Refused
from projections.models import checkpoints, history, photos
from projections.models.photos import Owner
from store.errors import StoreError, Unavailable
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection
from store.sqlite.reader import Reader

P = ParamSpec("P")
T = TypeVar("T")

FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1
ASK_S = 0.5
"""How long a read waits to hear from the log whether a position is one."""

After = Annotated[
    str | None,
    QueryParameter(
        name="after",
        description="Answer only when the read model has this X-Log-Position.",
    ),
]


async def provide_reader(
    request: Asked, deps: NamedDependency[Dependencies], after: After = None
) -> Reader:
    """The read model, once it has ``after``.

    A client is told about the positions of its own events alone: whether there is an event at any
    other position, or after it, would tell when other clients are active.

    Raises:
        Refused: ``invalid-position``, ``unknown-position``, ``read-model-behind``.
    """
    if after is None:
        return deps.reader
    own = request.user.own
    positions = [parse_position(text, deps.log.partitions) for text in after.split(",")]
    for position in {each.partition: each for each in positions}.values():
        if own is not None:
            await _reach_own(deps, position, own)
        elif await _checkpoint(deps.reader, position.partition) < position:
            if await will_not_come(deps.log, position, None):
                raise _no_event(position)
            await reach(deps, position)
    request.auth.confirm(request.user)  # the wait may have been long
    return deps.reader


async def _reach_own(deps: Dependencies, position: Position, client_id: str) -> None:
    """Wait for an event of the client; raises as ``provide_reader``."""
    with suppress(Unavailable):  # the projector has yet to make the file
        if await deps.reader.query(history.has, position, client_id):
            return
    known = await will_not_come(deps.log, position, client_id)
    if known is None:
        raise Refused("read-model-behind", f"The read model has not reached {position} yet.")
    if known:
        raise _no_event(position)
    await reach(deps, position)


def _no_event(position: Position) -> Refused:
    return Refused("unknown-position", f"There is no event of yours at {position}.")


async def will_not_come(log: Log, position: Position, client_id: str | None) -> bool | None:
    """Whether the log has no event of the client at ``position``; None if it does not answer.

    Without a client: whether the log ends before it.
    """
    if client_id is None:
        with suppress(StoreError), anyio.move_on_after(ASK_S):
            return await log.end(position.partition) < position
        return None
    known = await in_log(log, position, client_id)
    return None if known is None else not known


async def in_log(log: Log, position: Position, client_id: str | None) -> bool | None:
    """Whether the log has an event at ``position``, which is safe; None if it does not answer.

    With a client: an event of that client.
    """
    if position.partition >= log.partitions:
        return False
    with suppress(StoreError), anyio.move_on_after(ASK_S):
        found = await log.read(position.before, count=1)
        return any(
            each.position == position and client_id in (None, each.event.metadata.client_id)
            for each in found
        )
    return None


def parse_position(text: str, partitions: int) -> Position:
    """Raises Refused, ``invalid-position``, ``unknown-position``."""
    try:
        position = Position.parse(text)
    except ValueError as error:
        raise Refused("invalid-position", str(error)) from error
    if position.partition >= partitions:
        raise Refused("unknown-position", f"This log has {partitions} partitions, from 0 on.")
    return position


async def reach(deps: Dependencies, position: Position) -> None:
    """Wait until the read model has ``position``; raises Refused, ``read-model-behind``."""
    give_up = time.monotonic() + deps.limits.after_timeout_s
    pause_s = FIRST_PAUSE_S
    while await _checkpoint(deps.reader, position.partition) < position:
        left_s = give_up - time.monotonic()
        if left_s <= 0:
            raise Refused("read-model-behind", f"The read model has not reached {position} yet.")
        await anyio.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


async def lag_ms(deps: Dependencies, partition: int) -> int:
    """How long the oldest event that is not in the read model has been waiting, by the log's clock.

    Raises:
        Unavailable: Redis does not answer, or there is no read model.
    """
    checkpoint = await deps.reader.query(checkpoints.get, partition)
    waiting = await deps.log.read(checkpoint, count=1, safe=False)
    if not waiting:
        return 0
    return max(0, int((await deps.log.now()).timestamp() * 1000) - waiting[0].position.ms)


async def _checkpoint(reader: Reader, partition: int) -> Position:
    try:
        return await reader.query(checkpoints.get, partition)
    except Unavailable:  # the projector has yet to make the file
        return Position.start(partition)


async def find(
    deps: Dependencies,
    partitions: tuple[int, ...],
    query: Callable[Concatenate[Connection, P], T | None],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T | None:
    """What ``query`` finds; it says None only of a read model that has all there was at the call.

    So a command never denies what its sender was told a moment ago.
    """
    try:
        found = await deps.reader.query(query, *args, **kwargs)
    except Unavailable:  # the projector has yet to make the file
        found = None
    if found is not None:
        return found
    for partition in partitions:
        await reach(deps, await deps.log.end(partition))
    return await deps.reader.query(query, *args, **kwargs)


async def owner_to_change(deps: Dependencies, photo_id: str, principal: Principal) -> Owner:
    """Whose photo it is, never denied wrongly; raises Refused, ``photo-not-found``."""
    partitions = tuple(range(deps.log.partitions))
    if principal.role is Role.CLIENT:  # whose photos are all in one partition
        partitions = (deps.log.partition_of(principal.client_id),)
    return visible(await find(deps, partitions, photos.owner, photo_id), photo_id, principal)


def visible(owner: Owner | None, photo_id: str, principal: Principal) -> Owner:
    """The owner, if the photo exists for ``principal``; raises Refused, ``photo-not-found``."""
    if owner is None:
        raise not_found(photo_id)
    if not principal.may_see(owner.client_id):
        raise hidden(photo_id)
    return owner


def not_found(photo_id: str) -> Refused:
    """The same words for a photo that is not there and for another client's."""
    return Refused("photo-not-found", f"There is no photo {photo_id[:64]}.")


def hidden(photo_id: str) -> Refused:
    """For another client's photo: the answer of ``not_found``, and a line of the security log."""
    return Refused("photo-not-found", f"There is no photo {photo_id[:64]}.", trespass=True)
