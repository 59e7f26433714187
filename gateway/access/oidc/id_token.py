"""Verify ID tokens (OpenID Connect Core 1.0, section 3.1.3.7)."""

import base64
import hashlib
import hmac
from typing import Any

from gateway.access.oidc.claim_text import is_text
from gateway.access.oidc.config import Oidc
from gateway.access.oidc.errors import invalid
from gateway.access.oidc.provider import Granted, Provider
from gateway.access.oidc.signed_token import verified_claims


async def verified(
    granted: Granted, nonce: str, config: Oidc, provider: Provider
) -> dict[str, Any]:
    """Return the claims of the ID token.

    Raises:
        AuthError: ``invalid-identity``: it is forged, damaged or expired, or was issued by or for
            somebody else or for another sign-in.
        Refused: ``provider-unavailable``: the keys cannot be loaded.
    """
    required = ["iss", "sub", "aud", "exp", "iat"]
    claims, algorithm = await verified_claims(
        granted.id_token, "ID token", required, config, provider
    )
    _check(claims, nonce, config)
    _check_access_token(claims, algorithm, granted)
    return claims


def _check(claims: dict[str, Any], nonce: str, config: Oidc) -> None:
    subject, audience = claims["sub"], claims["aud"]
    if not is_text(subject):
        raise invalid("The provider's ID token names no subject.")
    if not _is_same(claims.get("nonce"), nonce):
        raise invalid("The provider's ID token belongs to another sign-in.")
    party = claims.get("azp")
    if party != config.client_id and (party is not None or _others(audience, config)):
        raise invalid("The provider's ID token was issued to another application.")


def _others(audience: Any, config: Oidc) -> bool:
    return isinstance(audience, list) and audience != [config.client_id]


def _check_access_token(claims: dict[str, Any], algorithm: str, granted: Granted) -> None:
    """Compare the hash of the access token, if the ID token has it (section 3.1.3.6)."""
    expected = claims.get("at_hash")
    if expected is None or granted.access_token is None:
        return
    # EdDSA here is Ed25519, whose hash is SHA-512.
    bits = "512" if algorithm == "EdDSA" else algorithm[-3:]
    digest = hashlib.new(f"sha{bits}", granted.access_token.encode()).digest()
    found = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
    if not _is_same(expected, found):
        raise invalid("The provider's access token does not belong to its ID token.")


def _is_same(claim: object, expected: str) -> bool:
    """Compare a claim, which may be anything, in constant time."""
    return is_text(claim) and hmac.compare_digest(claim.encode(), expected.encode())
