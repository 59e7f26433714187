"""Query the read model: as it is, or at least as new as ``?after=<position>``."""

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
"""How long a query waits for the log to confirm that a position exists."""

After = Annotated[
    str | None,
    QueryParameter(
        name="after",
        description="Wait until the read model includes this `X-Log-Position`, then answer.",
    ),
]


async def provide_reader(
    request: Asked, deps: NamedDependency[Dependencies], after: After = None
) -> Reader:
    """Return the read model once it includes ``after``.

    A client can only wait for positions of its own events: whether an event exists at or after any
    other position would reveal when other clients are active.

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
    await request.auth.still(request.user)  # the wait may have been long
    return deps.reader


async def _reach_own(deps: Dependencies, position: Position, client_id: str) -> None:
    """Wait for an event of the client; raises what ``provide_reader`` raises."""
    with suppress(Unavailable):  # the projector has not created the file yet
        if await deps.reader.query(history.has, position, client_id):
            return
    known = await will_not_come(deps.log, position, client_id)
    if known is None:
        raise Refused("read-model-behind", f"The read model has not reached {position} yet.")
    if known:
        raise _no_event(position)
    await reach(deps, position)


def _no_event(position: Position) -> Refused:
    return Refused("unknown-position", f"There is no event at {position} that you may see.")


async def will_not_come(log: Log, position: Position, client_id: str | None) -> bool | None:
    """Return whether the log has no event of the client at ``position``; None if it is down.

    Without a client, return whether the log ends before the position.
    """
    if client_id is None:
        with suppress(StoreError), anyio.move_on_after(ASK_S):
            return await log.end(position.partition) < position
        return None
    known = await in_log(log, position, client_id)
    return None if known is None else not known


async def in_log(log: Log, position: Position, client_id: str | None) -> bool | None:
    """Return whether the log has a durable event at ``position``; None if it does not answer.

    With a client, it must be an event of that client.
    """
    if position.partition >= log.partitions:
        return False
    with suppress(StoreError), anyio.move_on_after(ASK_S):
        found = await log.at(position)
        return found is not None and client_id in (None, found.event.metadata.client_id)
    return None


def parse_position(text: str, partitions: int) -> Position:
    """Parse a position; raises Refused, ``invalid-position``, ``unknown-position``."""
    try:
        position = Position.parse(text)
    except ValueError as error:
        raise Refused("invalid-position", str(error)) from error
    if position.partition >= partitions:
        raise Refused("unknown-position", f"This log has {_partitions(partitions)}.")
    return position


async def reach(deps: Dependencies, position: Position) -> None:
    """Wait until the read model includes ``position``; raises Refused, ``read-model-behind``."""
    give_up = time.monotonic() + deps.limits.after_timeout_s
    pause_s = FIRST_PAUSE_S
    while await _checkpoint(deps.reader, position.partition) < position:
        left_s = give_up - time.monotonic()
        if left_s <= 0:
            raise Refused("read-model-behind", f"The read model has not reached {position} yet.")
        await anyio.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


async def lag_ms(deps: Dependencies, partition: int) -> int:
    """Return how long the oldest event outside the read model has waited, by the log's clock.

    Raises:
        Unavailable: Redis does not answer, or the read model does not exist.
    """
    checkpoint = await deps.reader.query(checkpoints.get, partition)
    waiting = await deps.log.read(checkpoint, count=1, safe=False)
    if not waiting:
        return 0
    return max(0, int((await deps.log.now()).timestamp() * 1000) - waiting[0].position.ms)


async def _checkpoint(reader: Reader, partition: int) -> Position:
    try:
        return await reader.query(checkpoints.get, partition)
    except Unavailable:  # the projector has not created the file yet
        return Position.start(partition)


async def find(
    deps: Dependencies,
    partitions: tuple[int, ...],
    query: Callable[Concatenate[Connection, P], T | None],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T | None:
    """Return what ``query`` finds; None only if the read model includes all events up to this call.

    So a command never denies what its sender has just been shown.
    """
    try:
        found = await deps.reader.query(query, *args, **kwargs)
    except Unavailable:  # the projector has not created the file yet
        found = None
    if found is not None:
        return found
    for partition in partitions:
        await reach(deps, await deps.log.end(partition))
    return await deps.reader.query(query, *args, **kwargs)


async def owner_to_change(deps: Dependencies, photo_id: str, principal: Principal) -> Owner:
    """Return the photo's owner, waiting for the read model; raises Refused, ``photo-not-found``."""
    partitions = tuple(range(deps.log.partitions))
    if principal.role is Role.CLIENT:  # its photos are all in one partition
        partitions = (deps.log.partition_of(principal.client_id),)
    return visible(await find(deps, partitions, photos.owner, photo_id), photo_id, principal)


def visible(owner: Owner | None, photo_id: str, principal: Principal) -> Owner:
    """Return the owner if ``principal`` may see the photo; raises Refused, ``photo-not-found``."""
    if owner is None:
        raise not_found(photo_id)
    if not principal.may_see(owner.client_id):
        raise hidden(photo_id)
    return owner


def not_found(photo_id: str) -> Refused:
    """Return the problem for a missing photo, worded the same for another client's photo."""
    return Refused("photo-not-found", f"There is no photo {photo_id[:64]}.")


def hidden(photo_id: str) -> Refused:
    """Return ``not_found`` for another client's photo, plus an entry in the security log."""
    return Refused("photo-not-found", f"There is no photo {photo_id[:64]}.", trespass=True)


def _partitions(count: int) -> str:
    return "1 partition, 0" if count == 1 else f"{count} partitions, numbered from 0"
