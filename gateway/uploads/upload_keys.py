"""The ids of uploads with an ``Idempotency-Key``, and the keys that were answered.

The log keeps a key beside the photo that it made, so a failover that loses the event loses the key
with it, and the client may send the same upload again. The ids of its photo and job are therefore
derived from client, key and bytes: whoever records the upload, and however often, both answers tell
the same photo. Under one key there can be no second photo of the same bytes.

Other bytes under the same key are rejected by the log. A gateway that has answered for a key also
rejects them by itself, for as long as the log would: it remembers the SHA-256 of the last
``upload_keys_remembered`` keys.
"""

import time
import uuid
from collections import OrderedDict

from gateway.http.problems import Refused
from projections.models import photos
from store.errors import Unavailable
from store.log.append import IDEMPOTENCY_TTL_S
from store.sqlite.reader import Reader

UPLOADS = uuid.UUID("928f8fa0-ce28-4398-a4a3-25af0f477f11")

LIVES = 100
"""Photos that one key can make of the same bytes, each after the one before was deleted."""

REUSED = "This key made another photo."


def ids_of(log_id: str, client_id: str, key: str, sha256: str, life: int) -> tuple[str, str]:
    """Return the ids of the photo and of its job; each ``life`` of a deleted photo has its own."""
    name = "\n".join((log_id, client_id, key, sha256, f"{life}"))
    photo_id = uuid.uuid5(UPLOADS, name)
    return str(photo_id), str(uuid.uuid5(photo_id, "job"))


async def first_life(reader: Reader, log_id: str, client_id: str, key: str, sha256: str) -> int:
    """Return the first life that is not known to be over; a deleted photo's id is not used again.

    The append finds out by itself, unless the log has lost the photo's state.
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
    """The keys that one gateway has answered for."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def check(self, client_id: str, key: str, sha256: str) -> None:
        """Return if the key was not answered for with other bytes.

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
