"""The form of API keys: ``plk_<id>_<secret>``, so that scanners for leaked secrets find them.

The id names the key in lists and logs. The secret has 192 random bits, which nobody can guess, so
one SHA-256 protects the stored digest as well as a slow hash would.
"""

import hashlib
import re
import secrets

import msgspec

PREFIX = "plk_"
ID_BYTES, SECRET_BYTES = 6, 24

ID = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}", re.ASCII)
_KEY = re.compile(rf"{PREFIX}([0-9a-f]{{{2 * ID_BYTES}}})_[0-9a-f]{{{2 * SECRET_BYTES}}}", re.ASCII)


class MadeKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key: ``text`` is shown once, and only ``digest``, its SHA-256 in hex, is kept."""

    id: str
    text: str
    digest: str


def make() -> MadeKey:
    """Return a new random key."""
    key_id = secrets.token_hex(ID_BYTES)
    text = f"{PREFIX}{key_id}_{secrets.token_hex(SECRET_BYTES)}"
    return MadeKey(id=key_id, text=text, digest=digest_of(text))


def digest_of(text: str) -> str:
    """Return the SHA-256 of the key, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def id_of(text: str) -> str | None:
    """Return the id of a well-formed key; None for any other text."""
    match = _KEY.fullmatch(text)
    return match[1] if match else None
