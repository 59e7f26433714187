"""Map the claims of a provider to a client, a role and a name.

| ``client_claim`` | client id |
|---|---|
| ``sub`` | ``oidc-`` and a SHA-256 of issuer, claim and value: nobody else ever has it |
| another | its value as it is, or like ``sub`` if it cannot be a client id |

The provider vouches for ``sub`` alone that it is unique and never assigned again (OpenID Connect
Core 1.0, section 5.7); for another claim, the operator who sets it does. Client ids with the prefix
``oidc-`` are reserved: a claim cannot name the client of somebody else's ``sub``.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from gateway.access.oidc.claim_text import is_text
from gateway.access.oidc.config import Oidc, values_of
from gateway.access.oidc.errors import invalid, refused
from gateway.http.auth import CLIENT_ID, is_name
from gateway.http.roles import Role

Claims = Mapping[str, Any]

PREFIX = "oidc-"
DIGITS = 40
"""Hexadecimal digits of a derived client id: 160 bits."""

SUBJECT, EMAIL = "sub", "email"
NAME_MAX = 64
VALUE_MAX = 1_000
"""The most characters of a claim, and the most values of a role claim, that are looked at."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The person as this system knows them; ``name`` is None without a usable one."""

    client_id: str
    role: Role
    name: str | None


def identify(claims: Claims, config: Oidc) -> Identity:
    """Return whom the claims name.

    Raises:
        AuthError: ``invalid-identity``: the client claim is missing, or an unverified address.
        Forbidden: ``sign-in-refused``: the role claim has no known value, and that is required.
    """
    return Identity(
        client_id=_client_id(claims, config),
        role=_role(claims, config),
        name=_name(claims, config.name_claim),
    )


def named(config: Oidc) -> frozenset[str]:
    """Return the claims that the settings name, the e-mail address with whether it is verified."""
    claims = {config.client_claim, config.name_claim, config.role_claim} - {""}
    return frozenset(claims | ({"email_verified"} if EMAIL in claims else set[str]()))


def claim(claims: Claims, name: str) -> Any:
    """Return the claim of this name, or at this path, such as ``realm_access.roles``; or None."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = cast("Claims", found).get(part)
    return found


def _client_id(claims: Claims, config: Oidc) -> str:
    name = config.client_claim
    value = claim(claims, name)
    if not is_text(value, VALUE_MAX):
        raise invalid(f"The provider does not say who you are: it sends no claim {name!r}.")
    if name == EMAIL and not _is_verified(claims):
        raise invalid("The provider has not verified your e-mail address, which identifies you.")
    if name != SUBJECT and CLIENT_ID.fullmatch(value) and not value.startswith(PREFIX):
        return value
    text = msgspec.json.encode([config.issuer, name, value])
    return PREFIX + hashlib.sha256(text).hexdigest()[:DIGITS]


def _role(claims: Claims, config: Oidc) -> Role:
    if not config.role_claim:
        return Role.CLIENT
    values = _texts(claim(claims, config.role_claim))
    for role, setting in (
        (Role.OPERATOR, config.operators),
        (Role.AUDITOR, config.auditors),
        (Role.CLIENT, config.clients),
    ):
        if values & values_of(setting):
            return role
    if config.unknown_role == "refuse":
        raise refused("The provider gives you no role that may sign in here.")
    return Role.CLIENT


def _name(claims: Claims, name: str) -> str | None:
    value = claim(claims, name)
    if not isinstance(value, str) or (name == EMAIL and not _is_verified(claims)):
        return None
    text = " ".join(value[:VALUE_MAX].split())[:NAME_MAX].strip()
    return text if is_name(text) else None


def _is_verified(claims: Claims) -> bool:
    return claims.get("email_verified") is True


def _texts(value: Any) -> frozenset[str]:
    """Return the values of a claim that is one text or a list of them."""
    if isinstance(value, str):
        return frozenset({value})
    if not isinstance(value, list):
        return frozenset()
    listed = cast("list[Any]", value)[:VALUE_MAX]
    return frozenset(each for each in listed if isinstance(each, str))
