"""Identify senders by their tokens, sessions and API keys, and check these against the revocations.

Revocations and API keys are system events. Every gateway reads their state from the log each
``POLL_S`` and keeps it in memory, so that a request needs no look-up; it then ends the streams of
revoked principals. While Redis does not answer, the last known state applies. A gateway that has
not read it yet accepts nobody, because any token may have been revoked.

Browser sessions are in Redis, shared by all gateways. A session that was found stays valid for
``SESSION_KEPT_S``, and longer only while Redis does not answer.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import anyio
import msgspec

from domain.clients.revocations import Revocations
from domain.pipeline.control import Controls
from gateway.access.api_keys import KeyRing
from gateway.access.cookies import check_cookie_use, session_cookie
from gateway.http import api_keys
from gateway.http.auth import LEEWAY_S, AuthError, Principal, Role, Tokens
from gateway.http.bearer import Connection, bearer, stream_ticket
from gateway.http.cors import Cors
from gateway.http.limits import Limits
from gateway.http.problems import Refused
from store.background import Background
from store.clients.credentials import CredentialPlace, Credentials, Grant, held
from store.clients.provider_sign_in import ProviderSignIn
from store.clients.sign_outs import SignOuts
from store.errors import StoreError, Unavailable
from store.log.control import ControlLog
from store.log.log import Log

logger = logging.getLogger("photolog.gateway")

POLL_S = 0.5
FIRST_LOOK_S = 2.0
"""How long a starting gateway waits for the revocations before it answers requests."""

SESSION_KEPT_S = 1.0
SESSIONS_KEPT = 10_000
SESSION_PATIENCE_S = 0.5
"""How long to wait for Redis before accepting the last known state of a session."""

UNKNOWN = "The log does not answer, so this gateway cannot check yet whether the token was revoked."


class _Kept(msgspec.Struct, frozen=True):
    grant: Grant
    until: float


class _Stream(msgspec.Struct, frozen=True, eq=False):
    """A connection that stays open, and the function that ends it."""

    principal: Principal
    end: Callable[[str], None]


class Access:
    """Identify the senders of one gateway's requests, and end streams whose access has ended."""

    def __init__(self, log: Log, tokens: Tokens, limits: Limits, background: Background) -> None:
        self.tokens = tokens
        self.sessions = Credentials(log, "session", limits.sessions_per_client)
        self.tickets = Credentials(log, "ticket", limits.tickets_per_client)
        self.stream_tickets = Credentials(log, "stream-ticket", limits.stream_tickets_per_client)
        self.sign_outs = SignOuts(log)
        self._log = log
        self._controls = ControlLog(log)
        self._background = background
        self.cors = Cors(limits.cors_origins)
        self._keys = KeyRing(log)
        self._revocations: Revocations | None = None
        self._looked = anyio.Event()
        self._kept: OrderedDict[CredentialPlace, _Kept] = OrderedDict()
        self._streams: set[_Stream] = set()

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """Follow the revocations while the block runs: a lifespan of the application."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._background.keep, "revocations", self._follow)
            with anyio.move_on_after(FIRST_LOOK_S):
                await self._looked.wait()
            yield
            tasks.cancel_scope.cancel()

    async def identify(self, connection: Connection) -> Principal | None:
        """Return the sender's principal; None if there is neither a token nor a session.

        Every authentication passes through here, including that of WebSockets.

        Raises:
            AuthError: the token, key or session is invalid, or no longer valid.
            Forbidden: another site may have caused the request with the cookie.
            Refused, Unavailable: the gateway cannot check it now.
        """
        if (token := bearer(connection)) is not None:
            principal = self._of_bearer(token)
        elif (ticket := stream_ticket(connection)) is not None:
            principal = await self._of_stream_ticket(ticket)
        elif (secret := session_cookie(connection)) is not None:
            check_cookie_use(connection, self.cors)
            principal = await self._of_session(secret)
        else:
            return None
        self.confirm(principal)
        return principal

    async def authenticate(self, connection: Connection) -> Principal:
        """Return the sender's principal; raises as ``identify``, and AuthError without a token."""
        principal = await self.identify(connection)
        if principal is None:
            raise AuthError("missing-token", "This address requires a token.")
        return principal

    async def in_session(self, connection: Connection) -> Principal | None:
        """Return the principal of the browser's session; None without a valid session.

        Raises:
            Refused, Unavailable: the gateway cannot check it now.
        """
        secret = session_cookie(connection)
        if secret is None:
            return None
        try:
            principal = await self._of_session(secret)
            self.confirm(principal)
        except AuthError:
            return None
        return principal

    def _of_bearer(self, token: str) -> Principal:
        if token.startswith(api_keys.PREFIX):
            return self._keys.verify(token)
        return self.tokens.verify(token)

    def confirm(self, principal: Principal) -> None:
        """Return if the principal's token or key is not revoked, as far as this gateway knows.

        Raises:
            AuthError: ``revoked-token``.
            Refused: ``log-unavailable``: the gateway has not read the revocations yet.
        """
        if self._revocations is None:
            raise Refused("log-unavailable", UNKNOWN)
        if principal.api_key is not None:  # revocations of clients and of all end keys as well
            why = self._keys.reason_against(principal.api_key)
        else:
            why = self._revocations.reason_against(
                principal.token_id, principal.client_id, principal.issued
            )
        if principal.key_id is not None and not self.tokens.knows(principal.key_id):
            why = "The key that signed the token has been retired."
        if why is not None:
            raise AuthError("revoked-token", why)

    async def still(self, principal: Principal) -> None:
        """Return if the principal still has access, after its request has waited for something.

        A sender may hold back the end of a body until long after it was identified.

        Raises:
            AuthError: ``revoked-token``, ``expired-token``, ``expired-session``.
            Refused, Unavailable: the gateway cannot check it now.
        """
        self.confirm(principal)
        in_session = principal.session is not None
        leeway_s = 0.0 if in_session or principal.api_key is not None else LEEWAY_S
        if principal.expires <= time.time() - leeway_s:
            code = "expired-session" if in_session else "expired-token"
            raise AuthError(code, "The access expired while the request was being received.")
        if principal.session is not None and await self._find(principal.session) is None:
            raise AuthError("expired-session", "The session of this browser was ended.")

    def learn(self, controls: Controls) -> None:
        """Apply the revocations and API keys, including to open streams."""
        self._revocations = controls.revocations
        self._keys.learn(controls.api_keys)
        self._looked.set()
        for stream in tuple(self._streams):
            self._check(stream)

    @contextmanager
    def staying(self, principal: Principal, end: Callable[[str], None]) -> Generator[None]:
        """Wrap a long-lived connection; ``end`` gets a code when the principal loses access."""
        stream = _Stream(principal, end)
        self._streams.add(stream)
        self._check(stream)  # the token may have been revoked after it was identified
        try:
            yield
        finally:
            self._streams.discard(stream)

    async def begin_session(self, principal: Principal) -> str:
        """Begin a session that expires with the token, and return its secret.

        Raises:
            Unavailable, Full: Redis cannot store it.
        """
        return await self.sessions.create(
            _grant(principal), max(1.0, principal.expires - time.time())
        )

    async def end_session(self, secret: str) -> None:
        """Delete the session, if it exists, and end its streams here; raises Unavailable."""
        place = held(secret, self._log)
        if place is None:
            return
        await self.sessions.delete(place)
        self._forget({place})

    async def make_ticket(self, principal: Principal, lifetime_s: float) -> str:
        """Create a ticket that signs a browser in once; raises Unavailable and Full."""
        return await self.tickets.create(_grant(principal), lifetime_s)

    async def of_ticket(self, ticket: str, *, use: bool) -> Principal:
        """Return the ticket's principal; ``use`` consumes it, for one of several concurrent calls.

        Raises:
            AuthError: ``invalid-ticket``, or its token has been revoked.
            Unavailable: Redis does not answer.
        """
        place = held(ticket, self._log)
        grant = None
        if place is not None:
            grant = await (self.tickets.take(place) if use else self.tickets.find(place))
        if grant is None or grant.expires <= time.time():
            raise AuthError(
                "invalid-ticket", "The sign-in link has already been used, or has expired."
            )
        principal = _principal(grant, None)
        self.confirm(principal)
        return principal

    async def make_stream_ticket(self, principal: Principal, lifetime_s: float) -> str:
        """Create a ticket that opens one stream; raises Unavailable and Full."""
        return await self.stream_tickets.create(_grant(principal), lifetime_s)

    async def _of_stream_ticket(self, ticket: str) -> Principal:
        """Use the ticket; of several concurrent calls, at whichever gateways, one succeeds."""
        place = held(ticket, self._log)
        grant = await self.stream_tickets.take(place) if place is not None else None
        if grant is None or grant.expires <= time.time():
            raise AuthError(
                "invalid-stream-ticket", "The ticket has already been used, or has expired."
            )
        if grant.session is not None and await self._find(grant.session) is None:
            raise AuthError("expired-session", "The session that got the ticket was ended.")
        return _principal(grant, None)

    async def _of_session(self, secret: str) -> Principal:
        place = held(secret, self._log)
        grant = await self._find(place) if place is not None else None
        if grant is None or grant.expires <= time.time():
            raise AuthError(
                "expired-session", "The session of this browser has expired or was ended."
            )
        return _principal(grant, place)

    async def _find(self, place: CredentialPlace) -> Grant | None:
        kept = self._kept.get(place)
        if kept is not None and time.monotonic() < kept.until:
            return kept.grant
        try:
            with anyio.fail_after(SESSION_PATIENCE_S if kept else None):
                grant = await self.sessions.find(place)
                signed_out = grant is not None and await self._is_signed_out(grant)
        except (Unavailable, TimeoutError):
            if kept is None:
                raise
            return kept.grant
        if signed_out:
            with suppress(StoreError):  # the mark is enough while it is there
                await self.sessions.delete(place)
        if grant is None or signed_out:
            self._forget({place})
            return None
        self._kept[place] = _Kept(grant, time.monotonic() + SESSION_KEPT_S)
        self._kept.move_to_end(place)
        if len(self._kept) > SESSIONS_KEPT:
            self._kept.popitem(last=False)
        return grant

    async def _follow(self) -> None:
        away = False
        while True:
            failed = False
            for step in (self._load, self._keys.write_uses, self._end_signed_out):
                try:
                    await step()
                except StoreError as error:  # the other steps may need other partitions
                    if not away and not failed:
                        effect = "the last known apply" if self._revocations else "nobody is let in"
                        logger.warning(
                            "cannot read the revocations of tokens, %s: %s", effect, error
                        )
                    failed = True
            away = failed
            await anyio.sleep(POLL_S)

    async def _load(self) -> None:
        self.learn((await self._controls.load()).controls)

    async def _end_signed_out(self) -> None:
        """End the streams of sessions that another gateway, or the provider, has ended.

        A partition that is away leaves only its own open. Raises StoreError if there is one.
        """
        failure: StoreError | None = None
        open_sessions = {each.principal.session for each in self._streams} - {None}
        for partition in {each.partition for each in open_sessions if each}:
            places = (each for each in open_sessions if each and each.partition == partition)
            try:
                self._forget(await self.sessions.missing(places))
            except StoreError as error:
                failure = error
        sign_ins = {each.principal.provider_sign_in for each in self._streams} - {None}
        for marked in self.sign_outs.by_partition(each for each in sign_ins if each):
            try:
                self._end_sign_ins(await self.sign_outs.ended_by(marked))
            except StoreError as error:
                failure = error
        if failure is not None:
            raise failure

    def _end_sign_ins(self, ended: set[ProviderSignIn]) -> None:
        for stream in tuple(self._streams):
            if stream.principal.provider_sign_in in ended:
                if stream.principal.session is not None:
                    self._kept.pop(stream.principal.session, None)
                self._end(stream, "expired-session")

    async def _is_signed_out(self, grant: Grant) -> bool:
        """Return whether the provider has ended the sign-in that the grant comes from."""
        sign_in = grant.provider_sign_in
        return sign_in is not None and sign_in in await self.sign_outs.ended([sign_in])

    def _forget(self, ended: set[CredentialPlace]) -> None:
        for place in ended:
            self._kept.pop(place, None)
        for stream in tuple(self._streams):
            if stream.principal.session in ended:
                self._end(stream, "expired-session")

    def _check(self, stream: _Stream) -> None:
        try:
            self.confirm(stream.principal)
        except AuthError as error:
            self._end(stream, error.code)

    def _end(self, stream: _Stream, code: str) -> None:
        self._streams.discard(stream)
        stream.end(code)


def _grant(principal: Principal) -> Grant:
    return Grant(
        client_id=principal.client_id,
        role=principal.role.value,
        scopes=tuple(sorted(principal.scopes)),
        token_id=principal.token_id,
        key_id=principal.key_id,
        issued=principal.issued,
        expires=principal.expires,
        name=principal.name,
        session=principal.session,
        api_key=principal.api_key,
        granted=None if principal.granted is None else tuple(sorted(principal.granted)),
        provider=principal.provider,
        provider_sign_in=principal.provider_sign_in,
    )


def _principal(grant: Grant, session: CredentialPlace | None) -> Principal:
    return Principal(
        client_id=grant.client_id,
        role=Role(grant.role),
        scopes=frozenset(grant.scopes),
        token_id=grant.token_id,
        key_id=grant.key_id,
        issued=grant.issued,
        expires=grant.expires,
        name=grant.name,
        session=session or grant.session,
        api_key=grant.api_key,
        granted=None if grant.granted is None else frozenset(grant.granted),
        provider=grant.provider,
        provider_sign_in=grant.provider_sign_in,
    )
