"""Identify programs by their API keys, and note when each key was last used.

The keys are system events. ``Access`` learns them with the revocations, so a request needs neither
a look-up in Redis nor a slow hash: verifying a key costs a SHA-256 of 65 bytes, less than asking a
rate limit. A wrong key counts as a failed sign-in of its address.
"""

import hmac
import logging
import math
import time
from datetime import UTC, datetime

from domain.clients.api_keys import ApiKey, ApiKeys, token_id_of
from gateway.http.api_keys import digest_of, id_of
from gateway.http.auth import AuthError, Principal
from gateway.http.problems import Refused
from gateway.http.roles import OPS_WRITE, Role
from store.clients.key_uses import note_uses
from store.errors import StoreError
from store.log.log import Log

logger = logging.getLogger("photolog.gateway")

USES_APART_S = 60.0
"""The shortest time between two writes of the last use of one key by one gateway."""

UNKNOWN = "The log does not answer, so this gateway cannot check the API key yet."
INVALID = "The API key is malformed or unknown."
ENDED = "This API key was revoked, or has expired."


class KeyRing:
    """The API keys that one gateway knows."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._keys: ApiKeys | None = None
        self._used: dict[str, float] = {}
        self._written: dict[str, float] = {}

    def learn(self, keys: ApiKeys) -> None:
        """Apply the keys that the log has now."""
        self._keys = keys

    def verify(self, text: str) -> Principal:
        """Return the principal of a key.

        Raises:
            AuthError: ``invalid-token``; ``revoked-token``; ``expired-token``.
            Refused: ``log-unavailable``: the gateway has not read the keys yet.
        """
        if self._keys is None:
            raise Refused("log-unavailable", UNKNOWN)
        key_id = id_of(text)
        if key_id is None:
            raise AuthError("invalid-token", INVALID)
        key, digest = self._keys.active.get(key_id), digest_of(text)
        if key is None or not hmac.compare_digest(digest, key.digest):
            if key_id in self._keys.ended:
                raise AuthError("revoked-token", ENDED)
            raise AuthError("invalid-token", INVALID)
        now = time.time()
        if key.is_expired(datetime.fromtimestamp(now, UTC)):
            raise AuthError("expired-token", "This API key has expired.")
        self._used[key_id] = now
        return _principal(key_id, key)

    def reason_against(self, key_id: str) -> str | None:
        """Return why the key is no longer in force; None if it is."""
        return None if self._keys is not None and key_id in self._keys.active else ENDED

    async def write_uses(self) -> None:
        """Write the last uses that are new; a failure is retried with the next call.

        Those of a key that has ended are written at once and forgotten.
        """
        now = time.time()
        active = self._keys.active if self._keys is not None else {}
        moment = datetime.fromtimestamp(now, UTC)
        in_force = {key_id for key_id, key in active.items() if not key.is_expired(moment)}
        written = {key_id: self._written.get(key_id, 0.0) for key_id in self._used}
        due = {
            key_id: used
            for key_id, used in self._used.items()
            if used > written[key_id]
            and (now - written[key_id] >= USES_APART_S or key_id not in in_force)
        }
        try:
            await note_uses(self._log, {key_id: int(used * 1000) for key_id, used in due.items()})
        except StoreError as error:
            logger.debug("cannot note the last uses of API keys: %s", error)
            return
        self._written |= due
        for key_id in self._used.keys() - in_force:
            # A use since then, just before the end, is written the next time.
            if self._used[key_id] == self._written.get(key_id):
                del self._used[key_id], self._written[key_id]


def _principal(key_id: str, key: ApiKey) -> Principal:
    scopes = frozenset(key.scopes)
    if key.client_id is not None:
        role = Role.CLIENT
    else:
        role = Role.OPERATOR if OPS_WRITE in scopes else Role.AUDITOR
    return Principal(
        client_id=key.client_id or token_id_of(key_id),
        role=role,
        token_id=token_id_of(key_id),
        issued=key.created_at.timestamp(),
        expires=key.expires_at.timestamp() if key.expires_at else math.inf,
        api_key=key_id,
        granted=scopes,
    )
