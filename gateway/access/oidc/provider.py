"""The provider's metadata, keys and answers (OpenID Connect Core 1.0 and Discovery 1.0).

Metadata and keys are loaded at the first sign-in and kept. After ``keep_s`` they are loaded again;
if that fails, the old ones stay. A key that is not among them loads them once more, as after a
rotation, but not more often than each ``keys_pause_s``. After a failure, requests fail at once for
``retry_s``, so that waiting browsers do not pile up.
"""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote_plus

import anyio
import msgspec
from msgspec import Meta

from gateway.access.oidc.config import Oidc
from gateway.access.oidc.errors import invalid, refused, unavailable
from gateway.access.oidc.transport import Answer, Credentials, Transport
from gateway.http.problems import Refused

logger = logging.getLogger("photolog.gateway")

METADATA = "/.well-known/openid-configuration"
KEYS_MAX = 100
"""The most keys of a provider that are kept."""

DETAIL_MAX = 200

BASIC = "client_secret_basic"

Url = Annotated[str, Meta(pattern="^https?://", max_length=2_000)]


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's published metadata; the defaults are those of Discovery 1.0."""

    issuer: str
    authorization_endpoint: Url
    token_endpoint: Url
    jwks_uri: Url
    userinfo_endpoint: Url | None = None
    end_session_endpoint: Url | None = None
    id_token_signing_alg_values_supported: tuple[str, ...] = ()
    token_endpoint_auth_methods_supported: tuple[str, ...] = (BASIC,)
    authorization_response_iss_parameter_supported: bool = False


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that the provider returns for a code."""

    id_token: Annotated[str, Meta(max_length=100_000)]
    access_token: Annotated[str, Meta(max_length=100_000)] | None = None


Jwk = dict[str, Any]


class _Known(msgspec.Struct, frozen=True):
    metadata: Metadata
    keys: list[Jwk]
    until: float


class Provider:
    """One OpenID provider. Every method raises Refused, ``provider-unavailable``."""

    def __init__(self, config: Oidc, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._transport = Transport(config)
        self._clock = clock
        self._loading = anyio.Lock()
        self._known: _Known | None = None
        self._keys_asked = float("-inf")
        self._failed: tuple[float, Refused] | None = None

    async def metadata(self) -> Metadata:
        """Return the metadata, loaded if it is missing or old."""
        return (await self._current()).metadata

    async def keys(self, key_id: str | None, kind: str) -> list[Jwk]:
        """Return the signing keys of a type (``kty``) with this id; any id without one.

        The list is empty if the provider does not have such a key.
        """
        found = _matching((await self._current()).keys, key_id, kind)
        if found or self._clock() - self._keys_asked < self._config.keys_pause_s:
            return found
        self._keys_asked = self._clock()
        return _matching((await self._current(fresh=True)).keys, key_id, kind)

    async def exchange(self, code: str, verifier: str) -> Granted:
        """Exchange the code of a sign-in for the tokens.

        Raises:
            Forbidden: ``sign-in-refused``: the provider does not accept the code.
            AuthError: ``invalid-identity``: it gives no ID token.
        """
        config, metadata = self._config, await self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": config.redirect_uri,
            "code_verifier": verifier,
        }
        credentials: Credentials | None = None
        if config.client_secret is None:
            form["client_id"] = config.client_id
        elif BASIC in metadata.token_endpoint_auth_methods_supported:
            # RFC 6749, section 2.3.1, wants both form-encoded.
            credentials = quote_plus(config.client_id), quote_plus(config.client_secret)
        else:
            form |= {"client_id": config.client_id, "client_secret": config.client_secret}
        status, answer = await self._transport.post(metadata.token_endpoint, form, credentials)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self._unavailable(f"the provider answered with status {status}")
        if status != HTTPStatus.OK:
            why = str(answer.get("error", status))[:DETAIL_MAX]
            logger.warning("the OpenID provider rejects the code of a sign-in: %r", why)
            raise refused("The provider does not accept this sign-in any more. Begin again.")
        try:
            return msgspec.convert(answer, Granted)
        except msgspec.ValidationError as error:
            raise invalid("The provider's answer has no valid ID token.") from error

    async def user_info(self, access_token: str) -> Answer:
        """Return the claims that the provider gives for the access token; none without support."""
        endpoint = (await self.metadata()).userinfo_endpoint
        if endpoint is None:
            return {}
        return await self._transport.get(endpoint, {"Authorization": f"Bearer {access_token}"})

    async def _current(self, *, fresh: bool = False) -> _Known:
        """Return what is known; one of several concurrent callers loads it."""
        before = self._known
        if before is not None and not fresh and self._clock() < before.until:
            return before
        async with self._loading:
            if self._known is not None and self._known is not before:
                return self._known  # somebody else has loaded it meanwhile
            if self._failed is not None and self._clock() < self._failed[0]:
                if before is None:
                    raise self._failed[1]
                return before
            try:
                self._known = await self._load()
            except Refused as error:
                self._failed = (self._clock() + self._config.retry_s, error)
                if before is None:
                    raise
                logger.warning("keeping the old metadata of the OpenID provider: %s", error)
                return before
            self._failed = None
            return self._known

    async def _load(self) -> _Known:
        url = self._config.issuer.rstrip("/") + METADATA
        try:
            metadata = msgspec.convert(await self._transport.get(url), Metadata)
        except msgspec.ValidationError as error:
            raise self._unavailable(f"{url} is not the metadata of a provider") from error
        if metadata.issuer != self._config.issuer:
            reason = f"{url} names the issuer {metadata.issuer[:DETAIL_MAX]!r}, not the one set"
            raise self._unavailable(reason)
        keys = (await self._transport.get(metadata.jwks_uri)).get("keys")
        try:
            listed = msgspec.convert(keys, list[Jwk])[:KEYS_MAX]
        except msgspec.ValidationError as error:
            raise self._unavailable(f"{metadata.jwks_uri} has no list of keys") from error
        return _Known(metadata, listed, self._clock() + self._config.keep_s)

    def _unavailable(self, reason: str) -> Refused:
        return unavailable(f"Signing in is not possible now: {reason}.", self._config.retry_s)


def _matching(keys: list[Jwk], key_id: str | None, kind: str) -> list[Jwk]:
    return [
        key
        for key in keys
        if key.get("kty") == kind
        and key.get("use", "sig") == "sig"
        and (key_id is None or key.get("kid") == key_id)
    ]
