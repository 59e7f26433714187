"""Restore a missing or altered original when a client sends the same bytes again."""

import logging

from domain.photo.commands import RecordOriginalRestored
from domain.photo.results import ORIGINAL
from domain.photo.state import Photo
from domain.rejections import Rejected
from gateway.commands import context
from gateway.dependencies import Asked, Dependencies
from gateway.health.damage import damage_of, note
from store.blobs import damaged
from store.blobs.damaged import Damage
from store.errors import StoreError
from store.log.position import Position

logger = logging.getLogger("photolog.gateway")


async def damage_of_original(deps: Dependencies, photo: Photo) -> Damage | None:
    """Return the damage of the stored original, if any, and note it for health checks.

    If the store does not answer, the original counts as intact. All of it is read, which costs no
    more than the client has just sent.
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


async def restore(
    request: Asked, deps: Dependencies, photo: Photo, source: str, damage: Damage | None = None
) -> Position | None:
    """Store the blob ``source``, which has the photo's bytes, as its original if that is damaged.

    ``damage`` is that of the original, if the caller has just looked.

    Return the position of the event that records it. A failure is logged: if the original could
    not be stored, the client can send the bytes again.
    """
    damage = damage or await damage_of_original(deps, photo)
    if damage is None:
        return None
    key, blobs = photo.keys[ORIGINAL], deps.blobs
    try:
        async with blobs.draft(key, replace=True) as draft:
            async for chunk in blobs.read(source):
                await draft.write(chunk)
            await draft.commit()
        logger.warning("restored the original of photo %s, which was %s", photo.photo_id, damage)
        now = (await deps.log.load(photo.photo_id, photo.client_id, safe=True)).photo
        if now is None or now.deleted:  # if it has been erased, nothing else removes the file
            await blobs.delete(key)
            return None
        return await _record(request, deps, photo, damage)
    except StoreError as error:
        logger.warning("cannot restore the original of photo %s: %s", photo.photo_id, error)
        return None


async def _record(
    request: Asked, deps: Dependencies, photo: Photo, damage: Damage
) -> Position | None:
    """Append the event once. A crash between storing the blob and this leaves it unrecorded."""
    command = RecordOriginalRestored(
        photo_id=photo.photo_id, cause=damage, number=photo.restorations + 1
    )
    try:
        # ``execute`` would check the token again, but the file has already been restored.
        outcome = await deps.log.execute(
            command,
            client_id=photo.client_id,
            context=context(request),
            patience_s=deps.limits.append_patience_s,
        )
        await damaged.forget(deps.log, [photo.keys[ORIGINAL]])
    except (StoreError, Rejected) as error:
        logger.warning(
            "restored the original of photo %s, but the log or health checks may not show it: %s",
            *(photo.photo_id, error),
        )
        return None
    return outcome.position
