"""Sign-ins that have begun at an OpenID provider, and are not finished yet.

The secret of a sign-in is its ``state``: the provider hands it back. Redis has its SHA-256 alone.
Each sign-in can be taken once. One address keeps at most ``most`` at a time, see
``store.clients.credentials``; the address itself is not stored.
"""

import hashlib

import msgspec

from store.clients.credentials import Secrets, held
from store.log.log import Log


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """What the end of a sign-in is compared with.

    ``browser`` is the SHA-256 of the cookie of the browser that began it. ``return_to`` is the
    path to show afterwards.
    """

    nonce: str
    verifier: str
    browser: str
    return_to: str


class SignIns:
    """The sign-ins of one log. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, log: Log, most: int) -> None:
        self._log = log
        self._secrets = Secrets(log, "sign-in", most, SignIn)

    async def begin(self, source: str, sign_in: SignIn, lifetime_s: float) -> str:
        """Store a sign-in from this address and return its state; raises Full."""
        owner = hashlib.sha256(source.encode()).hexdigest()[:32]
        return await self._secrets.remember(owner, sign_in, lifetime_s)

    async def take(self, state: str) -> SignIn | None:
        """Return the sign-in and remove it; None if it is unknown, expired or was taken."""
        place = held(state, self._log)
        return None if place is None else await self._secrets.take(place)
