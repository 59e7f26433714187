"""Put back an original that is lost or altered, from a client that sends the same bytes."""

import logging

from domain.photo.commands import RecordOriginalRestored
from domain.photo.state import Photo
from domain.rejections import Rejected
from gateway.commands import context
from gateway.dependencies import Asked, Dependencies
from gateway.health.damage import damage_of, note
from store.blobs import damaged
from store.blobs.damaged import ORIGINAL, Damage
from store.errors import Exists, StoreError
from store.log.position import Position

logger = logging.getLogger("photolog.gateway")


async def damage_of_original(deps: Dependencies, photo: Photo) -> Damage | None:
    """Return what is wrong with the stored original, and note it for health.

    Where the store does not answer, the original counts as whole. It is read whole: by a client
    that has just sent as many bytes.
    """
    key = photo.keys[ORIGINAL]
    try:
        found = await damage_of(deps.blobs, key, photo.sha256, photo.file_size)
    except StoreError:
        return None
    if found is not None:
        await note(
            *(deps.log, key, found),
            photo_id=photo.photo_id,
            client_id=photo.client_id,
            sha256=photo.sha256,
        )
    return found


async def restore(request: Asked, deps: Dependencies, photo: Photo, source: str) -> Position | None:
    """Store the blob ``source``, which has the photo's bytes, as its original unless that is whole.

    Returns the position of the event that records it. A failure is logged: if the original could
    not be stored, the bytes can be sent again.
    """
    damage = await damage_of_original(deps, photo)
    if damage is None:
        return None
    key, blobs = photo.keys[ORIGINAL], deps.blobs
    try:
        async with blobs.draft(key) as draft:
            async for chunk in blobs.read(source):
                await draft.write(chunk)
            await draft.flush()
            await blobs.delete(key)  # altered bytes; the draft has the right ones
            await draft.commit()
        logger.warning("photo %s has its original back, which was %s", photo.photo_id, damage)
        now = (await deps.log.load(photo.photo_id, photo.client_id, safe=True)).photo
        if now is None or now.deleted:  # and perhaps erased already: nothing else would remove it
            await blobs.delete(key)
            return None
        return await _record(request, deps, photo, damage)
    except Exists:  # from another upload
        return None
    except StoreError as error:
        logger.warning("the original of photo %s could not be restored: %s", photo.photo_id, error)
        return None


async def _record(
    request: Asked, deps: Dependencies, photo: Photo, damage: Damage
) -> Position | None:
    """Append the event, once. A crash after the blob was stored and before this leaves it out."""
    command = RecordOriginalRestored(
        photo_id=photo.photo_id, cause=damage, number=photo.restorations + 1
    )
    try:
        # Not by ``execute``, which asks whether the token still counts: the file is there already.
        outcome = await deps.log.execute(
            command,
            client_id=photo.client_id,
            context=context(request),
            patience_s=deps.limits.append_patience_s,
        )
        await damaged.forget(deps.log, [photo.keys[ORIGINAL]])
    except (StoreError, Rejected) as error:
        logger.warning(
            "the log or health may not know that the original of photo %s was restored: %s",
            *(photo.photo_id, error),
        )
        return None
    return outcome.position
