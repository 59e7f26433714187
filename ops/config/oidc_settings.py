"""Settings of the OpenID provider at which people sign in; ``gateway.access.oidc.config`` has most
defaults, and what each bound answers. See ``ops.config.settings``.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.access.oidc.config import SESSION_MAX_S, Oidc
from ops.config.bounds import Count, HttpUrl, Seconds
from ops.config.rate_settings import RateSettings
from ops.config.setting_values import SECRET

_DEFAULT = Oidc(issuer="", client_id="", public_url="")

PREFIX = "oidc_"


class OidcSettings(RateSettings, frozen=True, kw_only=True):
    """The provider, whom its claims name, and the bounds of a sign-in."""

    oidc_issuer: Annotated[
        HttpUrl | None,
        Meta(
            description="URL of the OpenID provider at which people sign in, as its metadata "
            "names it, such as https://login.example.com; unset: tokens and links alone."
        ),
    ] = None
    oidc_client_id: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Client id of this system at the provider."),
    ] = None
    oidc_client_secret: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Client secret at the provider; unset: a public client, with PKCE alone."),
        SECRET,
    ] = None
    oidc_public_url: Annotated[
        HttpUrl | None,
        Meta(
            description="URL at which browsers reach the gateway. With /api/login/oidc/callback it "
            "is the redirect URI that the provider must know."
        ),
    ] = None
    oidc_name: Annotated[
        str,
        Meta(description="Name of the provider on the page; empty: the host of its URL."),
    ] = _DEFAULT.name
    oidc_scopes: Annotated[
        str, Meta(description="Scopes to ask for, separated by spaces.", min_length=6)
    ] = _DEFAULT.scopes
    oidc_client_claim: Annotated[
        str,
        Meta(
            description="Claim that names the client. From sub, an id is derived that no other "
            "person or provider can have; another claim is the id as it is, and must be one that "
            "people cannot change.",
            min_length=1,
        ),
    ] = _DEFAULT.client_claim
    oidc_name_claim: Annotated[
        str,
        Meta(
            description="Claim with the name of the person, by which events name operators.",
            min_length=1,
        ),
    ] = _DEFAULT.name_claim
    oidc_role_claim: Annotated[
        str,
        Meta(
            description="Claim with the roles or groups of the person, such as groups or "
            "realm_access.roles; empty: everyone is a client."
        ),
    ] = _DEFAULT.role_claim
    oidc_operators: Annotated[
        str, Meta(description="Values of that claim that make an operator, separated by commas.")
    ] = _DEFAULT.operators
    oidc_auditors: Annotated[str, Meta(description="Values that make an auditor.")] = (
        _DEFAULT.auditors
    )
    oidc_clients: Annotated[str, Meta(description="Values that make a client.")] = _DEFAULT.clients
    oidc_unknown_role: Annotated[
        Literal["client", "refuse"],
        Meta(description="What becomes of people without one of these values."),
    ] = _DEFAULT.unknown_role
    oidc_sign_out: Annotated[
        bool, Meta(description="Sign people out at the provider too, if it offers that.")
    ] = _DEFAULT.sign_out
    oidc_ca_file: Annotated[
        str | None,
        Meta(
            description="File with the CA certificates that verify the provider's certificate; "
            "unset: those of the system."
        ),
    ] = _DEFAULT.ca_file
    oidc_timeout_s: Annotated[
        Seconds, Meta(description="Longest time for an answer of the provider.")
    ] = _DEFAULT.timeout_s
    oidc_requests_at_once: Annotated[
        Count, Meta(description="Maximum number of concurrent requests to the provider.")
    ] = _DEFAULT.requests_at_once
    oidc_answer_bytes: Annotated[
        Count, Meta(description="Maximum size of an answer of the provider.")
    ] = _DEFAULT.answer_bytes
    oidc_retry_s: Annotated[
        Seconds, Meta(description="How long the provider is left alone after a failure.")
    ] = _DEFAULT.retry_s
    oidc_keep_s: Annotated[
        Seconds, Meta(description="How long its metadata and keys are kept.")
    ] = _DEFAULT.keep_s
    oidc_keys_pause_s: Annotated[
        Seconds,
        Meta(description="Shortest time between two loads of its keys because of an unknown one."),
    ] = _DEFAULT.keys_pause_s
    oidc_leeway_s: Annotated[
        float, Meta(description="How far the clock of the provider may be off.", ge=0, le=300)
    ] = _DEFAULT.leeway_s
    oidc_sign_in_s: Annotated[
        float, Meta(description="Longest duration of a sign-in.", ge=10, le=3600)
    ] = _DEFAULT.sign_in_s
    oidc_sign_ins_per_address: Annotated[
        Count,
        Meta(
            description="Maximum number of sign-ins of an address that are not finished; one more "
            "ends the oldest."
        ),
    ] = _DEFAULT.sign_ins_per_address
    oidc_session_s: Annotated[
        float,
        Meta(
            description="Lifetime of a session; a changed role applies from the next sign-in on.",
            ge=60,
            le=SESSION_MAX_S,
        ),
    ] = _DEFAULT.session_s

    @property
    def oidc(self) -> Oidc | None:
        """The provider; None if none is set."""
        if self.oidc_issuer is None:
            return None
        names = Oidc.__struct_fields__
        return msgspec.convert({name: getattr(self, PREFIX + name) for name in names}, Oidc)
