"""Derive the ids of uploads with an ``Idempotency-Key``, and remember the answered keys.

The log stores a key next to the photo that it created, so a failover that loses the event also
loses the key, and the client may send the same upload again. Therefore the ids of its photo and job
are derived from client, key and bytes: however often and by whichever gateway the upload is
recorded, all answers name the same photo. One key cannot create two photos of the same bytes.

The log rejects other bytes under the same key. A gateway that has answered for a key also rejects
them itself, for as long as the log would: it remembers the SHA-256 of the last
``upload_keys_remembered`` keys.
"""

import time
import uuid
from collections import OrderedDict

from gateway.http.problems import Refused
from projections.models import photos
from store.errors import Unavailable
from store.log.content_hashes import IDEMPOTENCY_TTL_S
from store.sqlite.reader import Reader

UPLOADS = uuid.UUID("928f8fa0-ce28-4398-a4a3-25af0f477f11")

LIVES = 100
"""The most photos that one key can create from the same bytes, each after the last is deleted."""

REUSED = "This Idempotency-Key was used to upload other bytes."


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


class UploadKeys:
    """The keys for which one gateway has answered."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def check(self, client_id: str, key: str, sha256: str) -> None:
        """Return unless the key was answered for other bytes.

        Raises:
            Refused: ``idempotency-key-reused``.
        """
        known, until = self._known.get((client_id, key), (sha256, 0.0))
        if known != sha256 and time.monotonic() < until:
            raise Refused("idempotency-key-reused", REUSED)

    def note(self, client_id: str, key: str, sha256: str, *, most: int) -> None:
        """Remember the key of an upload that is about to be answered with 201."""
        now = time.monotonic()
        _, until = self._known.pop((client_id, key), (sha256, 0.0))
        self._known[client_id, key] = sha256, until if now < until else now + IDEMPOTENCY_TTL_S
        while len(self._known) > most:
            self._known.popitem(last=False)
