"""Identify senders by their tokens and sessions, and check these against the revocations.

Revocations are system events. Every gateway reads their state from the log each ``POLL_S`` and
keeps it in memory, so that a request needs no look-up; it then ends the streams of revoked
principals. While Redis does not answer, the last known revocations apply. A gateway that has not
read the revocations yet accepts nobody, because any token may have been revoked.

Browser sessions are in Redis, shared by all gateways. A session that was found stays valid for
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
from gateway.http.auth import AuthError, Principal, Role, Tokens
from gateway.http.bearer import Connection, bearer
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
        self._log = log
        self._controls = ControlLog(log)
        self._background = background
        self._revocations: Revocations | None = None
        self._looked = anyio.Event()
        self._kept: OrderedDict[Held, _Kept] = OrderedDict()
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
            AuthError: the token or session is invalid, or no longer valid.
            Forbidden: another site may have caused the request with the cookie.
            Refused, Unavailable: the gateway cannot check it now.
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

    def confirm(self, principal: Principal) -> None:
        """Return if the principal's token has not been revoked, as far as this gateway knows.

        Raises:
            AuthError: ``revoked-token``.
            Refused: ``log-unavailable``: the gateway has not read the revocations yet.
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
        """Apply the revocations, including to open streams."""
        self._revocations = revocations
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

    async def _of_session(self, secret: str) -> Principal:
        place = held(secret, self._log)
        grant = await self._find(place) if place is not None else None
        if grant is None or grant.expires <= time.time():
            raise AuthError(
                "expired-session", "The session of this browser has expired or was ended."
            )
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
                    effect = "the last known apply" if self._revocations else "nobody is let in"
                    logger.warning("cannot read the revocations of tokens, %s: %s", effect, error)
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
