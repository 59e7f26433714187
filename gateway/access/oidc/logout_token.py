"""Verify logout tokens (OpenID Connect Back-Channel Logout 1.0, section 2.6).

A sign-out names the session at the provider (``sid``), the person (``sub``), or both. With a
session it ends the sign-ins of that session, and those of the person whose session is not known
here; without one it ends all of the person.
"""

import hashlib
import time
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from gateway.access.oidc.claim_text import TEXT_MAX, is_text
from gateway.access.oidc.config import Oidc
from gateway.access.oidc.errors import invalid
from gateway.access.oidc.provider import Provider
from gateway.access.oidc.signed_token import verified_claims
from store.clients.provider_sign_in import ProviderSignIn

EVENT = "http://schemas.openid.net/event/backchannel-logout"
AGE_S = 300.0
"""How old a token may be, besides the difference of the clocks."""

SESSION, PERSON, PERSON_WITHOUT_SESSION = "sid", "sub", "sub without sid"


class SignOut(msgspec.Struct, frozen=True, kw_only=True):
    """``marks`` are those of ``ProviderSignIn``, ``token`` identifies the logout token."""

    marks: tuple[str, ...]
    at_s: int
    token: str


def sign_in_of(claims: Mapping[str, Any], config: Oidc) -> ProviderSignIn:
    """Return what a sign-out can name of the sign-in with these claims of an ID token.

    No logout token can name a session that is not a usual text: it counts as unknown.
    """
    session = claims.get("sid")
    if not is_text(session):
        session = None
    own = (PERSON_WITHOUT_SESSION, claims["sub"]) if session is None else (SESSION, session)
    marks = (_mark(config, PERSON, claims["sub"]), _mark(config, *own))
    return ProviderSignIn(marks=marks, at_s=int(claims["iat"]))


async def verified(token: str, config: Oidc, provider: Provider) -> SignOut:
    """Return whom a logout token signs out.

    Raises:
        AuthError: ``invalid-identity``: it is not a valid logout token for this application.
        Refused: ``provider-unavailable``: the keys cannot be loaded.
    """
    required = ["iss", "aud", "iat", "jti", "events"]
    claims, _ = await verified_claims(token, "logout token", required, config, provider)
    if "nonce" in claims:
        raise invalid("A logout token has no nonce.")
    events = claims["events"]
    event = cast("Mapping[str, Any]", events).get(EVENT) if isinstance(events, Mapping) else None
    if not isinstance(event, Mapping):
        raise invalid("The token is not a logout token.")
    if not isinstance(claims["iat"], int | float):  # the library also takes text of digits
        raise invalid("The claim iat of the logout token is not a number.")
    if claims["iat"] < time.time() - AGE_S - config.leeway_s:
        raise invalid("The logout token is too old.")
    person, session, token_id = (_text(claims, name) for name in ("sub", "sid", "jti"))
    if token_id is None:
        raise invalid("The logout token has no jti.")
    if session is not None:
        named = [(SESSION, session)]
        if person is not None:
            named.append((PERSON_WITHOUT_SESSION, person))
    elif person is not None:
        named = [(PERSON, person)]
    else:
        raise invalid("The logout token names neither a person nor a session.")
    return SignOut(
        marks=tuple(_mark(config, *each) for each in named),
        at_s=int(claims["iat"]),
        token=_mark(config, "jti", token_id),
    )


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    """Return the claim; None without it. Raises AuthError if it is no text of a usual length."""
    value = claims.get(name)
    if value is not None and not is_text(value):
        raise invalid(f"The claim {name} is not a text of at most {TEXT_MAX} characters.")
    return value


def _mark(config: Oidc, kind: str, value: str) -> str:
    return hashlib.sha256(msgspec.json.encode([config.issuer, kind, value])).hexdigest()
