"""A photo whose original the blob store has lost gets it back from who sends the same bytes."""

import logging

from domain.photo import Photo
from store.blobs import Blobs
from store.errors import Exists, Missing, StoreError
from store.log import Log

logger = logging.getLogger("photolog.gateway")

ORIGINAL = "original"


async def has_original(blobs: Blobs, photo: Photo) -> bool:
    """Whether it is there; where the store does not answer, as far as is known."""
    try:
        await blobs.size(photo.keys[ORIGINAL])
    except Missing:
        return False
    except StoreError:
        return True
    return True


async def restore(log: Log, blobs: Blobs, photo: Photo, source: str) -> None:
    """Store the blob ``source``, which has the photo's bytes, as its original if that is lost.

    What hinders it is logged: the photo is as it was, and the bytes can be sent again.
    """
    key = photo.keys[ORIGINAL]
    if await has_original(blobs, photo):
        return
    try:
        async with blobs.draft(key) as draft:
            async for chunk in blobs.read(source):
                await draft.write(chunk)
            await draft.flush()
            await draft.commit()
        logger.warning("photo %s has its lost original back", photo.photo_id)
        now = (await log.load(photo.photo_id, photo.client_id, safe=True)).photo
        if now is None or now.deleted:  # and perhaps erased already: nothing else would remove it
            await blobs.delete(key)
    except Exists:  # from another upload
        return
    except StoreError as error:
        logger.warning("the lost original of photo %s stays lost: %s", photo.photo_id, error)
