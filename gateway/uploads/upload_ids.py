"""Derive the ids of uploads with an ``Idempotency-Key``.

The log stores a key next to the photo that it created, so a failover that loses the event also
loses the key, and the client may send the same upload again. Therefore the ids of its photo and job
are derived from client, key and bytes: however often and by whichever gateway the upload is
recorded, all answers name the same photo. One key cannot create two photos of the same bytes.
"""

import uuid

from projections.models import photos
from store.errors import Unavailable
from store.sqlite.reader import Reader

UPLOADS = uuid.UUID("928f8fa0-ce28-4398-a4a3-25af0f477f11")

LIVES = 100
"""The most photos that one key can create from the same bytes, each after the last is deleted."""


def ids_of(log_id: str, client_id: str, key: str, sha256: str, life: int) -> tuple[str, str]:
    """Return the ids of the photo and of its job; each ``life`` after a deletion has its own."""
    name = "\n".join((log_id, client_id, key, sha256, f"{life}"))
    photo_id = uuid.uuid5(UPLOADS, name)
    return str(photo_id), str(uuid.uuid5(photo_id, "job"))


async def first_life(reader: Reader, log_id: str, client_id: str, key: str, sha256: str) -> int:
    """Return the first life that is not known to have ended; ids of deleted photos are not reused.

    The append also rejects the id of a deleted photo, unless the log has lost the photo's state.
    """
    for life in range(LIVES):
        photo_id, _ = ids_of(log_id, client_id, key, sha256, life)
        try:
            owner = await reader.query(photos.owner, photo_id)
        except Unavailable:
            return life
        if owner is None or not owner.deleted:
            return life
    return LIVES
