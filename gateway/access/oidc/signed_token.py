"""Verify the signature and the registered claims of a provider's token (RFC 7519)."""

from collections.abc import Sequence
from typing import Any

import jwt

from gateway.access.oidc.config import Oidc
from gateway.access.oidc.errors import invalid
from gateway.access.oidc.provider import Provider

ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
"""The accepted algorithms and the type of their keys.

There is neither ``none`` nor HMAC, whose key would be the client secret, which others may know.
"""

KEYS_TRIED = 10
"""The most keys that are tried for a token that does not name its key."""


async def verified_claims(
    token: str, what: str, required: Sequence[str], config: Oidc, provider: Provider
) -> tuple[dict[str, Any], str]:
    """Return the claims of a token for this application, and the algorithm of its signature.

    ``what`` names the token in errors. ``required`` are the claims that it must have.

    Raises:
        AuthError: ``invalid-identity``: it is forged, damaged or expired, or was issued by or for
            somebody else.
        Refused: ``provider-unavailable``: the keys cannot be loaded.
    """
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError as error:
        raise invalid(f"The provider's {what} is malformed.") from error
    algorithm, key_id = str(header.get("alg")), header.get("kid")
    supported = (await provider.metadata()).id_token_signing_alg_values_supported
    if algorithm not in ALGORITHMS or (supported and algorithm not in supported):
        raise invalid("The provider signs with an algorithm that is not accepted here.")
    keys = await provider.keys(None if key_id is None else str(key_id), ALGORITHMS[algorithm])
    for key in keys[:KEYS_TRIED]:
        if key.get("alg", algorithm) != algorithm:
            continue
        try:
            claims = jwt.decode(  # pyright: ignore[reportUnknownMemberType] # types of the library
                token,
                jwt.PyJWK(key, algorithm),
                algorithms=[algorithm],
                audience=config.client_id,
                issuer=config.issuer,
                leeway=config.leeway_s,
                options={"require": list(required)},
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.PyJWTError as error:
            raise invalid(f"The provider's {what} is not valid: {error}.") from error
        if int(claims["iat"]) < 0:  # ``iat`` is always required, and not in the future
            raise invalid(f"The provider's {what} is not valid: iat is negative.")
        return claims, algorithm
    raise invalid(f"The provider's {what} is not signed with one of the provider's keys.")
