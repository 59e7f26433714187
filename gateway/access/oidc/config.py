"""Describe the OpenID provider, whom its claims name, and the bounds of a sign-in."""

from typing import Literal
from urllib.parse import urlsplit

import msgspec

BEGIN = "/api/login/oidc"

BACK_CHANNEL = f"{BEGIN}/back-channel"
"""The path that providers know as the back-channel logout URI, after the public URL."""

CALLBACK = f"{BEGIN}/callback"
"""The path that providers know as the redirect URI, after the public URL."""

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")

SESSION_MAX_S = 30 * 86_400.0
"""The longest that ``session_s`` may be."""


class Oidc(msgspec.Struct, frozen=True, kw_only=True):
    """Each field has a setting of its name after ``oidc_``. Times in seconds, sizes in bytes.

    ``issuer`` is the provider's URL, under which it publishes its metadata. ``public_url`` is the
    origin at which browsers reach this gateway. ``operators``, ``auditors`` and ``clients`` are
    values of the role claim, separated by commas; ``unknown_role`` says what becomes of people
    without one of them.

    | bound | at the bound |
    |---|---|
    | ``timeout_s`` of an answer of the provider | 503 ``provider-unavailable`` |
    | ``requests_at_once`` to the provider | they wait, within ``timeout_s`` |
    | ``answer_bytes`` of one | 503 ``provider-unavailable`` |
    | ``retry_s`` after a failure | 503 at once; the provider is left alone |
    | ``keep_s``: age of its metadata and keys | they are loaded again, the old ones stay |
    | ``keys_pause_s`` between two loads because of an unknown key | 401 ``invalid-identity`` |
    | ``leeway_s``: how far its clock may be off | 401 ``invalid-identity`` |
    | ``sign_in_s``: the duration of a sign-in | 401 ``sign-in-expired`` |
    | ``sign_ins_per_address`` begun and not finished | the oldest expires |
    | ``session_s``: the lifetime of a session | the person signs in again |
    """

    issuer: str
    client_id: str
    public_url: str
    client_secret: str | None = None
    name: str = ""
    scopes: str = "openid profile email"
    client_claim: str = "sub"
    name_claim: str = "name"
    role_claim: str = ""
    operators: str = ""
    auditors: str = ""
    clients: str = ""
    unknown_role: Literal["client", "refuse"] = "client"
    sign_out: bool = True
    ca_file: str | None = None
    timeout_s: float = 5.0
    requests_at_once: int = 16
    answer_bytes: int = 1 << 20
    retry_s: float = 5.0
    keep_s: float = 3600.0
    keys_pause_s: float = 30.0
    leeway_s: float = 60.0
    sign_in_s: float = 600.0
    sign_ins_per_address: int = 50
    session_s: float = 43_200.0

    @property
    def title(self) -> str:
        """Return the name of the provider for people."""
        return self.name or urlsplit(self.issuer).hostname or self.issuer

    @property
    def origin(self) -> str:
        return self.public_url.rstrip("/")

    @property
    def redirect_uri(self) -> str:
        return self.origin + CALLBACK

    @property
    def is_local(self) -> bool:
        """Return whether the provider is on this machine, where it needs no TLS."""
        return is_local(self.issuer)


def is_local(url: str) -> bool:
    return urlsplit(url).hostname in LOCAL_HOSTS


def values_of(setting: str) -> frozenset[str]:
    """Return the values that are separated by commas."""
    return frozenset(filter(None, (each.strip() for each in setting.split(","))))
