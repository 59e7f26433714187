"""``GET /api/photos/{id}/chain``: a photo's events as they are stored, for whoever checks them."""

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.commands import NO_ANSWER, naming_the_log
from gateway.dependencies import Asked, Dependencies
from gateway.http.paging import PAGE, Cursor, Limit
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import only
from gateway.queries.reading import visible
from gateway.routes.photos import history_start
from projections.models import history, photos
from projections.models.history import Room
from store.log.entries import body_at
from store.sqlite.reader import Reader


class Link(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One event: its ``position`` in the log and its stored bytes, in MessagePack.

    Its ``metadata.prev`` is the SHA-256 of the ``body`` before it, in hex; of the first, 64 zeros.
    ``body`` is None if the log has lost the event, and anything if somebody has changed it.
    """

    position: str
    body: bytes | None


class Chain(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Links, oldest first; ``next_cursor`` continues with later ones."""

    items: list[Link]
    next_cursor: str | None


@get(
    "/api/photos/{photo_id:str}/chain",
    guards=[only("cursor", "limit", "after")],
    responses=problems(
        *("photo-not-found", "invalid-cursor", "invalid-limit", "missing-token", "corrupt"),
        *("log-unavailable", "read-model-behind"),
        reads=True,
    ),
    tags=["photos"],
    summary="Get a photo's events as they are stored",
)
async def photo_chain(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    photo_id: FromPath[str],
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Chain:
    """List the stored bytes of the photo's events, oldest first, even after it was deleted.

    They come from the log itself, not from the read model: with them anybody can check that no
    event was changed, removed or inserted. What the log has is listed even if the chain is broken.
    """
    if limit > PAGE:
        raise Refused("invalid-limit", f"A page has at most {PAGE} items (got {limit}).")
    owner = visible(await reader.query(photos.owner, photo_id), photo_id, request.user)
    partition = deps.log.partition_of(owner.client_id)
    room = Room(kind="photo", id=photo_id, client_id=owner.client_id)
    start = history_start(cursor, partition)
    entries = await reader.query(history.room_events, room, partition, start, None, limit)
    with naming_the_log(deps.log, NO_ANSWER):
        links = [
            Link(position=str(each.position), body=await body_at(deps.log, each.position))
            for each in entries
        ]
    end = str(entries[-1].position) if len(entries) == limit else None
    return Chain(items=links, next_cursor=end)


ROUTES = (photo_chain,)
