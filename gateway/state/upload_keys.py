"""Remember the idempotency keys that this gateway has answered for, and reject their reuse.

The log rejects other bytes under the same key, but a failover may lose the key. So a gateway that
has answered for a key also rejects them itself, for as long as the log would: it remembers the
SHA-256 of the last ``upload_keys_remembered`` keys.
"""

import time
from collections import OrderedDict

from gateway.http.problems import Refused
from store.log.content_hashes import IDEMPOTENCY_TTL_S


def key_reused() -> Refused:
    """Return the problem of a key that came with other bytes before."""
    return Refused("idempotency-key-reused", "This Idempotency-Key was used to upload other bytes.")


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
            raise key_reused()

    def note(self, client_id: str, key: str, sha256: str, *, most: int) -> None:
        """Remember the key of an upload that is about to be answered with 201."""
        now = time.monotonic()
        _, until = self._known.pop((client_id, key), (sha256, 0.0))
        self._known[client_id, key] = sha256, until if now < until else now + IDEMPOTENCY_TTL_S
        while len(self._known) > most:
            self._known.popitem(last=False)
