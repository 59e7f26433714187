"""Put back an original that is lost or altered, from a client that sends the same bytes."""

import logging

from domain.photo import Photo
from gateway.damage import ORIGINAL, is_intact
from gateway.dependencies import Dependencies
from store.errors import Exists, Missing, StoreError

logger = logging.getLogger("photolog.gateway")


async def has_original(deps: Dependencies, photo: Photo) -> bool:
    """Return whether the original is stored with the bytes that the log records.

    Where the store does not answer, it counts as whole. It is read whole: by a client that has just
    sent as many bytes.
    """
    key = photo.keys[ORIGINAL]
    try:
        whole = await is_intact(deps.blobs, key, photo.sha256, photo.file_size)
    except Missing:
        return False
    except StoreError:
        return True
    if not whole:
        deps.damaged.note(key, photo.sha256, photo.file_size)
    return whole


async def restore(deps: Dependencies, photo: Photo, source: str) -> None:
    """Store the blob ``source``, which has the photo's bytes, as its original unless that is whole.

    A failure is logged: the photo is as it was, and the bytes can be sent again.
    """
    if await has_original(deps, photo):
        return
    key, blobs = photo.keys[ORIGINAL], deps.blobs
    try:
        async with blobs.draft(key) as draft:
            async for chunk in blobs.read(source):
                await draft.write(chunk)
            await draft.flush()
            await blobs.delete(key)  # altered bytes; the draft has the right ones
            await draft.commit()
        logger.warning("photo %s has its original back, which was lost or altered", photo.photo_id)
        deps.damaged.forget(key)
        now = (await deps.log.load(photo.photo_id, photo.client_id, safe=True)).photo
        if now is None or now.deleted:  # and perhaps erased already: nothing else would remove it
            await blobs.delete(key)
    except Exists:  # from another upload
        return
    except StoreError as error:
        logger.warning("the original of photo %s could not be restored: %s", photo.photo_id, error)
