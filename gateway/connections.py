"""Who holds the gateway's connections, how many each may hold, and who makes room for whom.

| bound | counts | at the bound |
|---|---|---|
| ``connections`` | open connections | the oldest idle one is closed; if none is idle: 503 |
| ``connections_per_address`` | of one source, see ``gateway.peer`` | likewise, of that one: 429 |
| ``connections_per_client`` | requests, streams and WebSockets of one client | 429 |
| ``connections_reserved`` | kept for health checks, metrics, operators, auditors | 503 for others |

A connection is idle while no request on it is being answered, also while a request's head is on its
way. Idle connections that never carried a valid token are closed before those that did. Nobody
known is shut out by a crowd of unknown peers, however many addresses it has.

A trusted proxy is one peer that speaks for many, so the bound for each address does not apply to
its connections: it applies to the requests, streams and WebSockets of each forwarded address.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.auth import Principal, Role
from gateway.limits import Limits
from gateway.peer import Proxies, source, source_of
from gateway.problems import Refused

SCOPE_KEY = "photolog.connection"
"""Where the scope of a request has its ``Connection``."""

WATCHED = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Addresses that are served from the reserve, whoever asks."""

RESERVE_PART = 4
"""The reserve is at most this part of all connections; one address gets this part of it."""


class Connection:
    """One open connection. ``close`` ends it; it is called only while the connection is idle."""

    __slots__ = ("_connections", "active", "close", "from_reserve", "known", "source")

    def __init__(
        self, connections: "Connections", source: str | None, close: Callable[[], None]
    ) -> None:
        self.source = source
        """None for a trusted proxy, and for a peer that has no address."""
        self.close = close
        self.active = False
        self.known = False
        self.from_reserve = False
        self._connections = connections

    def begin(self) -> None:
        """A request is about to be answered; may be called again before ``end``."""
        self._connections.begin(self)

    def end(self) -> None:
        """All requests that have come are answered."""
        self._connections.end(self)

    def leave(self) -> None:
        """The connection is closed; may be called again."""
        self._connections.leave(self)

    @contextmanager
    def serving(self, scope: Any, principal: Principal | None) -> Generator[None]:
        """Count the request, stream or WebSocket for the time of the block.

        Raises:
            Refused: ``too-many-connections``, ``too-many-connections-of-client`` or
                ``too-many-connections-from-address``.
        """
        with self._connections.serving(self, scope, principal):
            yield


class _Idle:
    """Idle connections, the oldest first; unknown ones before known ones."""

    __slots__ = ("_known", "_unknown")

    def __init__(self) -> None:
        self._unknown: OrderedDict[Connection, None] = OrderedDict()
        self._known: OrderedDict[Connection, None] = OrderedDict()

    def add(self, connection: Connection) -> None:
        (self._known if connection.known else self._unknown)[connection] = None

    def discard(self, connection: Connection) -> None:
        (self._known if connection.known else self._unknown).pop(connection, None)

    def first(self) -> Connection | None:
        for found in (self._unknown, self._known):
            if found:
                return next(iter(found))
        return None


class _Source:
    __slots__ = ("idle", "open")

    def __init__(self) -> None:
        self.open = 0
        self.idle = _Idle()


class Connections:
    """Those of one gateway. Counted since the start: ``refused`` by reason, and ``displaced``."""

    def __init__(self, limits: Limits) -> None:
        self.max = limits.connections
        self.reserved = min(limits.connections_reserved, limits.connections // RESERVE_PART)
        self.open = 0
        self.active = 0
        self.displaced = 0
        self.refused: Counter[str] = Counter(total=0, address=0, client=0)
        self._per_address = limits.connections_per_address
        self._per_client = limits.connections_per_client
        self._proxies = Proxies(limits.trusted_proxies)
        self._sources: dict[str, _Source] = {}
        self._idle = _Idle()
        self._clients: Counter[str] = Counter()
        self._forwarded: Counter[str] = Counter()
        self._in_reserve: Counter[str] = Counter()

    @property
    def are_scarce(self) -> bool:
        """Whether only the reserve is left."""
        return self.active >= self.max - self.reserved

    @property
    def sources(self) -> int:
        """How many addresses have connections, as far as they are counted by address."""
        return len(self._sources)

    def enter(self, address: str | None, close: Callable[[], None]) -> Connection:
        """Take in a new connection, at the cost of an idle one if need be.

        Raises:
            Refused: ``too-many-connections-from-address`` or ``too-many-connections``: no
                connection is idle.
        """
        peer = None if not address or address in self._proxies else source(address)
        if peer is not None:
            of_peer = self._sources.get(peer)
            if of_peer is not None and of_peer.open >= self._per_address:
                self._displace(of_peer.idle, "address")
        if self.open >= self.max:
            self._displace(self._idle, "total")
        connection = Connection(self, peer, close)
        if peer is not None:
            # Asked for again: the displaced connection may have been the last one of this source.
            self._sources.setdefault(peer, _Source()).open += 1
        self.open += 1
        self._rest(connection)
        return connection

    def begin(self, connection: Connection) -> None:
        if connection.active or not self._has(connection):
            return
        self._stir(connection)
        self.active += 1
        connection.active = True
        connection.from_reserve = self.active > self.max - self.reserved

    def end(self, connection: Connection) -> None:
        if connection.active and self._has(connection):
            self.active -= 1
            connection.active = False
            self._rest(connection)

    def leave(self, connection: Connection) -> None:
        if not self._has(connection):
            return
        self.active -= connection.active
        self._stir(connection)
        self.open -= 1
        connection.close = _closed
        if connection.source is not None:
            of_peer = self._sources[connection.source]
            of_peer.open -= 1
            if not of_peer.open:
                del self._sources[connection.source]

    @contextmanager
    def serving(
        self, connection: Connection, scope: Any, principal: Principal | None
    ) -> Generator[None]:
        counted: list[tuple[Counter[str], str]] = []
        try:
            if connection.from_reserve:
                counted.append(self._reserve(scope, principal))
            if connection.source is None:
                counted.append(self._of_address(source_of(scope)))
            if principal is not None:
                if connection.active:  # else it may be in the list of unknown idle ones
                    connection.known = True
                counted.append(self._of_client(principal))
            yield
        finally:
            for counts, name in counted:
                counts[name] -= 1
                if not counts[name]:
                    del counts[name]

    def _reserve(self, scope: Any, principal: Principal | None) -> tuple[Counter[str], str]:
        peer = source_of(scope)
        privileged = scope["path"] in WATCHED or (
            principal is not None and principal.role is not Role.CLIENT
        )
        if not privileged or self._in_reserve[peer] >= max(1, self.reserved // RESERVE_PART):
            raise self._refusal("total")
        return _count(self._in_reserve, peer)

    def _of_address(self, peer: str) -> tuple[Counter[str], str]:
        if self._forwarded[peer] >= self._per_address:
            raise self._refusal("address")
        return _count(self._forwarded, peer)

    def _of_client(self, principal: Principal) -> tuple[Counter[str], str]:
        if self._clients[principal.client_id] >= self._per_client:
            raise self._refusal("client")
        return _count(self._clients, principal.client_id)

    def _displace(self, idle: _Idle, reason: str) -> None:
        victim = idle.first()
        if victim is None:
            raise self._refusal(reason)
        self.displaced += 1
        close = victim.close
        self.leave(victim)
        close()

    def _refusal(self, reason: str) -> Refused:
        self.refused[reason] += 1
        match reason:
            case "address":
                return Refused(
                    "too-many-connections-from-address",
                    f"One address may have {self._per_address:,} connections at once.",
                )
            case "client":
                return Refused(
                    "too-many-connections-of-client",
                    f"One client may have {self._per_client:,} requests, streams and WebSockets "
                    "at once.",
                )
            case _:
                return Refused(
                    "too-many-connections", "This gateway has as many connections as it may have."
                )

    def _has(self, connection: Connection) -> bool:
        return connection.close is not _closed

    def _rest(self, connection: Connection) -> None:
        self._idle.add(connection)
        if connection.source is not None:
            self._sources[connection.source].idle.add(connection)

    def _stir(self, connection: Connection) -> None:
        self._idle.discard(connection)
        if connection.source is not None:
            self._sources[connection.source].idle.discard(connection)


def bounded(app: ASGIApp) -> ASGIApp:
    """Middleware behind the authentication: counts each request for whoever makes it.

    A WebSocket has no principal yet; its route counts it.
    """

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        untyped: Any = scope
        connection: Connection | None = untyped.get(SCOPE_KEY)
        if connection is None or scope["type"] != "http":
            await app(scope, receive, send)
            return
        with connection.serving(scope, untyped.get("user")):
            await app(scope, receive, send)

    return counting


def _count(counts: Counter[str], name: str) -> tuple[Counter[str], str]:
    counts[name] += 1
    return counts, name


def _closed() -> None:
    """Stands in for ``close`` of a connection that has left."""
