"""Sign a person in at the provider: the authorization code flow with PKCE, state and nonce.

Beginning stores the sign-in in Redis and binds it to the browser by a cookie; the provider hands
its ``state`` back with a code. Finishing takes the sign-in, so each works once, compares the cookie
and exchanges the code. Nobody can finish somebody else's sign-in in their own browser, or make
somebody else finish theirs.
"""

import base64
import hashlib
import hmac
import logging
import re
import secrets
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from gateway.access.oidc import id_token, logout_token
from gateway.access.oidc.config import SESSION_MAX_S, Oidc
from gateway.access.oidc.errors import expired, invalid, refused
from gateway.access.oidc.identity import claim, identify, named
from gateway.access.oidc.provider import Granted, Provider
from gateway.http.auth import TOKEN_ID_BYTES, AuthError, Principal
from gateway.http.problems import Refused
from store.clients.sign_ins import SignIn, SignIns
from store.clients.sign_outs import SignOuts
from store.log.log import Log

logger = logging.getLogger("photolog.gateway")

SECRET_BYTES = 32

BROWSER = re.compile(r"[\w-]{43}", re.ASCII)
"""The form of a value of the cookie that binds sign-ins to a browser."""

FINISHING_S = 3_600.0
"""The most that passes between the issue of an ID token and the session that it begins."""

TABS = 5
"""The most sign-ins of one browser that can be under way at a time."""

RETURN_TO = re.compile(r"/(console|docs)?(\?[\w.~=&%-]{0,500})?", re.ASCII)
"""The paths of pages of this gateway, and nothing that a browser takes for another site."""

DENIED = ("access_denied", "consent_required", "interaction_required", "login_required")


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """``url`` is the provider's page, ``browser`` the cookie's value for ``lifetime_s`` seconds."""

    url: str
    browser: str
    lifetime_s: int


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's answer, which comes through the browser."""

    state: str | None = None
    code: str | None = None
    issuer: str | None = None
    error: str | None = None


class Flow:
    """The sign-ins of one gateway at the provider. Without a provider, all are refused."""

    def __init__(self, config: Oidc | None, log: Log) -> None:
        self._config = config
        self._provider = Provider(config) if config else None
        self._sign_ins = SignIns(log, config.sign_ins_per_address if config else 1)

    @property
    def config(self) -> Oidc | None:
        return self._config

    async def begin(self, source: str, browser: str | None, return_to: str) -> Begun:
        """Begin a sign-in of a browser at the address ``source``.

        Each sign-in has a value of its own in the browser's cookie, which somebody may have planted
        there. The last values stay in it, so that its tabs do not disturb each other.

        Raises:
            Refused: there is no provider, it is unavailable, or ``return_to`` is not a page.
            Unavailable, Full: Redis cannot store it.
        """
        config, provider = self._configured()
        if not RETURN_TO.fullmatch(return_to):
            raise Refused("invalid-request", "returnTo: must be the path of a page, such as /")
        metadata = await provider.metadata()
        value = secrets.token_urlsafe(SECRET_BYTES)
        others = [each for each in _values(browser) if BROWSER.fullmatch(each)]
        sign_in = SignIn(
            nonce=secrets.token_urlsafe(SECRET_BYTES),
            verifier=secrets.token_urlsafe(SECRET_BYTES),
            browser=_digest(value),
            return_to=return_to,
        )
        query = {
            "response_type": "code",
            "client_id": config.client_id,
            "redirect_uri": config.redirect_uri,
            "scope": config.scopes,
            "state": await self._sign_ins.begin(source, sign_in, config.sign_in_s),
            "nonce": sign_in.nonce,
            "code_challenge": _challenge(sign_in.verifier),
            "code_challenge_method": "S256",
        }
        url = _with_query(metadata.authorization_endpoint, query)
        kept = ".".join([*others, value][-TABS:])
        return Begun(url=url, browser=kept, lifetime_s=int(config.sign_in_s))

    async def finish(self, returned: Returned, browser: str | None) -> tuple[Principal, str]:
        """Finish a sign-in; return the person's principal, and the path to show.

        Raises:
            AuthError: ``sign-in-expired``, or ``invalid-identity``: the answer is not trusted.
            Forbidden: ``sign-in-refused``: the provider or the settings said no.
            Refused: there is no provider, or it is unavailable.
            Unavailable: Redis does not answer.
        """
        config, provider = self._configured()
        sign_in = await self._sign_ins.take(returned.state or "")
        values = _values(browser)
        if sign_in is None or not any(
            hmac.compare_digest(_digest(each), sign_in.browser) for each in values
        ):
            raise expired()
        await self._check_answer(returned, provider)
        if returned.code is None:
            raise refused(_why_refused(returned.error))
        granted = await provider.exchange(returned.code, sign_in.verifier)
        own = await id_token.verified(granted, sign_in.nonce, config, provider)
        claims = await self._completed(own, granted, config, provider)
        person = identify(claims, config)
        now = time.time()
        principal = Principal(
            client_id=person.client_id,
            role=person.role,
            name=person.name,
            token_id=secrets.token_hex(TOKEN_ID_BYTES),
            issued=now,
            expires=now + config.session_s,
            provider=config.issuer,
            provider_sign_in=logout_token.sign_in_of(own, config),
        )
        return principal, sign_in.return_to

    async def sign_out_url(self) -> str | None:
        """Return the provider's page that ends its own session; None if it has none.

        Raises:
            Refused: there is no provider, or it is unavailable.
        """
        config, provider = self._configured()
        endpoint = (await provider.metadata()).end_session_endpoint if config.sign_out else None
        if endpoint is None:
            return None
        # Without a token, the provider asks the person: no other site can sign them out.
        query = {"client_id": config.client_id, "post_logout_redirect_uri": f"{config.origin}/"}
        return _with_query(endpoint, query)

    async def sign_out(self, token: str, sign_outs: SignOuts) -> None:
        """End the sign-ins that a logout token of the provider names.

        The token is noted as used last, so that one whose effect failed can be sent again; the same
        effect a second time changes nothing.

        Raises:
            Refused: ``invalid-logout-token``: it is not trusted, or was used before; there is no
                provider, or it is unavailable.
            Unavailable, Full: Redis cannot store it.
        """
        config, provider = self._configured()
        try:
            found = await logout_token.verified(token, config, provider)
        except AuthError as error:
            raise Refused("invalid-logout-token", str(error), trespass=True) from error
        # Sessions may be from a time when the setting was longer.
        await sign_outs.end(found.marks, found.at_s, SESSION_MAX_S + FINISHING_S)
        if not await sign_outs.use(found.token, logout_token.AGE_S + 2 * config.leeway_s + 1):
            detail = "The logout token was used before."
            raise Refused("invalid-logout-token", detail, trespass=True)
        logger.info("the OpenID provider has signed somebody out")

    async def _check_answer(self, returned: Returned, provider: Provider) -> None:
        """Reject the answer of another provider (RFC 9207)."""
        metadata = await provider.metadata()
        required = metadata.authorization_response_iss_parameter_supported
        if returned.issuer != metadata.issuer and (required or returned.issuer is not None):
            raise invalid("The answer comes from another provider.")

    async def _completed(
        self, claims: dict[str, Any], granted: Granted, config: Oidc, provider: Provider
    ) -> dict[str, Any]:
        """Add the claims that only the provider's user info has; those of the ID token stay."""
        if granted.access_token is None or all(
            claim(claims, name) is not None for name in named(config)
        ):
            return claims
        more = await provider.user_info(granted.access_token)
        if more and more.get("sub") != claims["sub"]:
            raise invalid("The provider's user info is about somebody else.")
        return {**more, **claims}

    def _configured(self) -> tuple[Oidc, Provider]:
        if self._config is None or self._provider is None:
            raise Refused("no-provider", "This gateway has no OpenID provider.")
        return self._config, self._provider


def _why_refused(error: str | None) -> str:
    """Return the reason in words; the provider's own text comes through the browser."""
    if error in DENIED:
        return "The sign-in was cancelled, or the provider does not allow it."
    logger.warning("the OpenID provider refuses a sign-in: %r", (error or "no code")[:100])
    return "The provider refused the sign-in."


def _challenge(verifier: str) -> str:
    """Return the S256 challenge of the verifier (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _digest(browser: str) -> str:
    return hashlib.sha256(browser.encode()).hexdigest()


def _values(browser: str | None) -> list[str]:
    """Return the values of sign-ins that a cookie may hold."""
    return [] if browser is None else browser.split(".")[-TABS:]


def _with_query(url: str, query: dict[str, str]) -> str:
    joint = "&" if urlsplit(url).query else "?"
    return f"{url}{joint}{urlencode(query)}"
