"""Derive the ids of uploads with an ``Idempotency-Key``.

The log stores a key next to the photo that it created, so a failover that loses the event also
loses the key, and the client may send the same upload again. Therefore the ids of its photo and job
are derived from client, key and bytes: however often and by whichever gateway the upload is
recorded, all answers name the same photo. One key cannot create two photos of the same bytes.
"""

import uuid

from projections.models import checkpoints, photos
from projections.models.photos import Owner
from store.errors import Unavailable
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection
from store.sqlite.reader import Reader

UPLOADS = uuid.UUID("928f8fa0-ce28-4398-a4a3-25af0f477f11")

LIVES_MAX = 100
"""The most photos that one key can create from the same bytes, each after the last is deleted."""


def ids_of(log_id: str, client_id: str, key: str, sha256: str, life: int) -> tuple[str, str]:
    """Return the ids of the photo and of its job; each ``life`` after a deletion has its own."""
    name = "\n".join((log_id, client_id, key, sha256, f"{life}"))
    photo_id = uuid.uuid5(UPLOADS, name)
    return str(photo_id), str(uuid.uuid5(photo_id, "job"))


async def first_life(reader: Reader, log: Log, client_id: str, key: str, sha256: str) -> int:
    """Return the first life that has not ended; ids of deleted photos are not reused.

    The append also rejects the id of a photo whose state is in Redis. Only photos whose events have
    left the stream may lack one: the log is asked for them while the read model is behind.

    Raises:
        Unavailable: Redis or the archive does not answer.
    """
    partition = log.partition_of(client_id)
    trimmed = await log.trimmed(partition)
    for life in range(LIVES_MAX):
        photo_id, _ = ids_of(log.log_id, client_id, key, sha256, life)
        if not await _is_deleted(reader, log, photo_id, client_id, trimmed):
            return life
    return LIVES_MAX


async def _is_deleted(
    reader: Reader, log: Log, photo_id: str, client_id: str, trimmed: Position
) -> bool:
    try:
        owner, checkpoint = await reader.query(_look, photo_id, trimmed.partition)
    except Unavailable:
        owner, checkpoint = None, Position.start(trimmed.partition)
    if owner is None and checkpoint < trimmed:
        photo = (await log.load(photo_id, client_id)).photo
        return photo is not None and photo.deleted
    return owner is not None and owner.deleted


def _look(db: Connection, photo_id: str, partition: int) -> tuple[Owner | None, Position]:
    """Return the photo's owner, and how far the read model had got before that."""
    checkpoint = checkpoints.get(db, partition)
    return photos.owner(db, photo_id), checkpoint
