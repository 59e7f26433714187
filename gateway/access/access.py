"""Which tokens and sessions count now: what a request shows, checked against the revocations.

Revocations are system events. Every gateway looks at their state in the log each ``POLL_S`` and
keeps it in memory, so a request costs no look; streams of a revoked principal are ended then. While
Redis does not answer the last known revocations apply. A gateway that has never seen any accepts
nobody: what it does not know may be revoked.

A browser's session is in Redis, where all gateways find it. What was found counts for
``SESSION_KEPT_S``, and longer only while Redis does not answer.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import msgspec

from domain.clients.revocations import Revocations
from gateway.access.cookies import check_cookie_use, session_cookie
from gateway.http.auth import AuthError, Connection, Principal, Role, Tokens, bearer
from gateway.http.limits import Limits
from gateway.http.problems import Refused
from store.background import Background
from store.clients.credentials import Credentials, Grant, Held, held
from store.errors import StoreError, Unavailable
from store.log.control import ControlLog
from store.log.log import Log

logger = logging.getLogger("photolog.gateway")

POLL_S = 0.5
FIRST_LOOK_S = 2.0
"""How long a gateway that starts waits to learn the revocations before it answers."""

SESSION_KEPT_S = 1.0
SESSIONS_KEPT = 10_000
SESSION_PATIENCE_S = 0.5
"""How long to wait for Redis about a session that was known a while ago."""


UNKNOWN = "The log does not answer, and it is not known yet which tokens have been revoked."


class _Kept(msgspec.Struct, frozen=True):
    grant: Grant
    until: float


class _Stream(msgspec.Struct, frozen=True, eq=False):
    """A connection that stays open, and what ends it."""

    principal: Principal
    end: Callable[[str], None]


class Access:
    """Identifies whoever asks one gateway, and ends the streams of those who may ask no more."""

    def __init__(self, log: Log, tokens: Tokens, limits: Limits, background: Background) -> None:
        self.tokens = tokens
        self.sessions = Credentials(log, "session", limits.sessions_per_client)
        self.tickets = Credentials(log, "ticket", limits.tickets_per_client)
        self._log = log
        self._controls = ControlLog(log)
        self._background = background
        self._revocations: Revocations | None = None
        self._looked = anyio.Event()
        self._kept: OrderedDict[Held, _Kept] = OrderedDict()
        self._streams: set[_Stream] = set()

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """Follow the revocations inside the block: the lifespan of an application."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._background.keep, "revocations", self._follow)
            with anyio.move_on_after(FIRST_LOOK_S):
                await self._looked.wait()
            yield
            tasks.cancel_scope.cancel()

    async def identify(self, connection: Connection) -> Principal | None:
        """Return who is asking; None if there is neither a token nor a session.

        Every authentication passes here, that of WebSockets too.

        Raises:
            AuthError: there is one, and it does not count, or no more.
            Forbidden: the cookie came with a request that another site may have made.
            Refused, Unavailable: it cannot be found out now.
        """
        if (token := bearer(connection)) is not None:
            principal = self.tokens.verify(token)
        elif (secret := session_cookie(connection)) is not None:
            check_cookie_use(connection)
            principal = await self._of_session(secret)
        else:
            return None
        self.confirm(principal)
        return principal

    async def authenticate(self, connection: Connection) -> Principal:
        """Return who is asking; raises as ``identify``, and AuthError if nobody says so."""
        principal = await self.identify(connection)
        if principal is None:
            raise AuthError("missing-token", "This needs a token.")
        return principal

    async def in_session(self, connection: Connection) -> Principal | None:
        """Return whose session the browser has, if it has one that counts.

        Raises:
            Refused, Unavailable: it cannot be found out now.
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

    def confirm(self, principal: Principal) -> None:
        """Return if the principal's token has not been revoked, as far as is known.

        Raises:
            AuthError: it has: ``revoked-token``.
            Refused: the revocations are not known yet: ``log-unavailable``.
        """
        if self._revocations is None:
            raise Refused("log-unavailable", UNKNOWN)
        why = self._revocations.reason_against(
            principal.token_id, principal.client_id, principal.issued
        )
        if principal.key_id is not None and not self.tokens.knows(principal.key_id):
            why = "The key that signed the token has been retired."
        if why is not None:
            raise AuthError("revoked-token", why)

    def learn(self, revocations: Revocations) -> None:
        """Apply the revocations, to open streams too."""
        self._revocations = revocations
        self._looked.set()
        for stream in tuple(self._streams):
            self._check(stream)

    @contextmanager
    def staying(self, principal: Principal, end: Callable[[str], None]) -> Generator[None]:
        """Around a connection that stays open: ``end`` gets the code when it may not any longer."""
        stream = _Stream(principal, end)
        self._streams.add(stream)
        self._check(stream)  # its token may have been revoked since it was identified
        try:
            yield
        finally:
            self._streams.discard(stream)

    async def begin_session(self, principal: Principal) -> str:
        """Return the secret of a new session, which ends with the token.

        Raises:
            Unavailable, Full: Redis does not keep it.
        """
        return await self.sessions.create(
            _grant(principal), max(1.0, principal.expires - time.time())
        )

    async def end_session(self, secret: str) -> None:
        """Forget the session, if there is one, and end its streams here; raises Unavailable."""
        place = held(secret, self._log)
        if place is None:
            return
        await self.sessions.delete(place)
        self._forget({place})

    async def make_ticket(self, principal: Principal, lifetime_s: float) -> str:
        """Return a ticket that signs a browser in once; raises Unavailable and Full."""
        return await self.tickets.create(_grant(principal), lifetime_s)

    async def of_ticket(self, ticket: str, *, use: bool) -> Principal:
        """Return whom the ticket signs in; with ``use`` it is used up: of several, one gets it.

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
                "invalid-ticket", "The sign-in link has been used already, or its time is over."
            )
        principal = _principal(grant, None)
        self.confirm(principal)
        return principal

    async def _of_session(self, secret: str) -> Principal:
        place = held(secret, self._log)
        grant = await self._find(place) if place is not None else None
        if grant is None or grant.expires <= time.time():
            raise AuthError("expired-session", "The sign-in of this browser is over.")
        return _principal(grant, place)

    async def _find(self, place: Held) -> Grant | None:
        kept = self._kept.get(place)
        if kept is not None and time.monotonic() < kept.until:
            return kept.grant
        try:
            with anyio.fail_after(SESSION_PATIENCE_S if kept else None):
                grant = await self.sessions.find(place)
        except (Unavailable, TimeoutError):
            if kept is None:
                raise
            return kept.grant
        if grant is None:
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
            try:
                self.learn((await self._controls.load()).controls.revocations)
                await self._end_signed_out()
                away = False
            except StoreError as error:
                if not away:
                    known = "the last known apply" if self._revocations else "nobody is let in"
                    logger.warning("revocations of tokens cannot be read, %s: %s", known, error)
                away = True
            await anyio.sleep(POLL_S)

    async def _end_signed_out(self) -> None:
        """End the streams of sessions that another gateway has ended."""
        open_sessions = {each.principal.session for each in self._streams} - {None}
        self._forget(await self.sessions.missing(each for each in open_sessions if each))

    def _forget(self, ended: set[Held]) -> None:
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
    )


def _principal(grant: Grant, session: Held | None) -> Principal:
    return Principal(
        client_id=grant.client_id,
        role=Role(grant.role),
        scopes=frozenset(grant.scopes),
        token_id=grant.token_id,
        key_id=grant.key_id,
        issued=grant.issued,
        expires=grant.expires,
        session=session,
    )
