"""The secrets that sign deliveries: derived from one key, and stored nowhere.

The secret of a webhook is the HMAC of its id and the id of the secret under the key of the system.
The log has both ids and the SHA-256 of the secret, so that a process with another key notices it.
See ``ops/guides/decisions/webhook-secrets.md``.
"""

import base64
import hashlib
import hmac
import secrets

import msgspec

PREFIX = "whsec_"

MIN_KEY_BYTES = 32

ID_BYTES = 8


class WebhookSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret by its id. ``key`` signs; ``text`` is what a receiver needs, shown once."""

    id: str
    key: bytes

    @property
    def text(self) -> str:
        return PREFIX + base64.b64encode(self.key).decode()

    @property
    def digest(self) -> str:
        """The SHA-256 of the secret, in hex."""
        return hashlib.sha256(self.key).hexdigest()


class WebhookSecrets:
    """Derives the secrets of all webhooks from one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"the key of webhooks needs at least {MIN_KEY_BYTES} bytes")
        self._key = key

    def make(self, webhook_id: str) -> WebhookSecret:
        """Return a new secret."""
        return self.derive(webhook_id, secrets.token_hex(ID_BYTES))

    def derive(self, webhook_id: str, secret_id: str) -> WebhookSecret:
        """Return the secret of that id, the same on every call."""
        of = f"photolog webhook secret\n{webhook_id}\n{secret_id}".encode()
        return WebhookSecret(id=secret_id, key=hmac.digest(self._key, of, "sha256"))


def make_id() -> str:
    """Return the id of a new webhook."""
    return secrets.token_hex(ID_BYTES)
