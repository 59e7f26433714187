"""Limit the gateway's connections, in total and per address and client, and decide which to close.

| bound | counts | at the bound |
|---|---|---|
| ``connections`` | open connections | another connection is closed; if none may be: 503 |
| ``connections_per_address`` | those of one source, see ``gateway.http.peer`` | the same; 429 |
| ``connections_per_client`` | requests, streams and WebSockets of one client | 429 |
| ``connections_reserved`` | withheld from clients for health, metrics and staff | 503 |

When no connection is free, a new one displaces another, in this order:

1. the oldest idle connection that no client has used; a connection also counts as idle while the
   head of a request is arriving, and one that has only just been opened is spared if possible;
2. an idle connection that a client has used;
3. a connection whose request nobody vouches for, such as one without a valid token.

The remaining connections are used by clients, each within its own bound; by health checks and
metrics, within the bound of an address; or by operators and auditors (the staff). Therefore no
crowd of unknown peers can shut others out, however many addresses it has.

A trusted proxy is one peer that speaks for many, so the bound per address does not apply to its
connections, but to the requests, streams and WebSockets of each forwarded address.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.http.auth import Principal, Role
from gateway.http.limits import Limits
from gateway.http.peer import UNKNOWN, Proxies, source, source_of
from gateway.http.problems import Refused
from gateway.http.rejection_log import RejectionLog

SCOPE_KEY = "photolog.connection"
"""The key of a request's ``Connection`` in its scope."""

WATCHED = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Paths that monitoring requests without a token."""

RESERVE_PART = 4
"""The reserve is at most one in four connections; an address gets at most a quarter of it."""

GRACE_S = 1.0
"""How long a connection that has just been opened, or become idle, counts as new."""


class Connection:
    """One open connection. ``close`` ends it immediately, whatever its use."""

    __slots__ = ("_connections", "active", "client", "close", "source", "vouched")

    def __init__(
        self, connections: "Connections", source: str | None, close: Callable[[], None]
    ) -> None:
        self.source = source
        """None for a trusted proxy, and for a peer that has no address."""
        self.close = close
        self.active = False
        self.client: str | None = None
        """The client that has used it, unless that client already has too many connections."""
        self.vouched = 0
        self._connections = connections

    def begin(self) -> None:
        """Mark the connection as answering a request; may be called again before ``end``."""
        self._connections.begin(self)

    def end(self) -> None:
        """Mark the connection as idle: all its requests have been answered."""
        self._connections.end(self)

    def leave(self) -> None:
        """Release the closed connection; may be called again."""
        self._connections.leave(self)

    @contextmanager
    def serving(self, scope: Any, principal: Principal | None) -> Generator[None]:
        """Count the request, stream or WebSocket while the block runs.

        Raises:
            Refused: ``too-many-connections``, ``too-many-connections-of-client`` or
                ``too-many-connections-from-address``.
        """
        with self._connections.serving(self, scope, principal):
            yield


class _Waiting:
    """The connections that may be displaced, in three classes, each from oldest to newest."""

    __slots__ = ("_idle", "_unvouched", "_used")

    def __init__(self) -> None:
        self._idle: OrderedDict[Connection, float] = OrderedDict()
        self._used: OrderedDict[Connection, float] = OrderedDict()
        self._unvouched: OrderedDict[Connection, float] = OrderedDict()

    def add(self, connection: Connection, now: float) -> None:
        self._class_of(connection)[connection] = now

    def discard(self, connection: Connection) -> None:
        self._class_of(connection).pop(connection, None)

    def first(self, now: float) -> Connection | None:
        for found in (self._idle, self._used):
            if found and (first := next(iter(found))) and found[first] <= now - GRACE_S:
                return first
        for found in (self._idle, self._used, self._unvouched):
            if found:
                return next(iter(found))
        return None

    def _class_of(self, connection: Connection) -> OrderedDict[Connection, float]:
        if connection.active:
            return self._unvouched
        return self._idle if connection.client is None else self._used


class _Source:
    __slots__ = ("open", "waiting")

    def __init__(self) -> None:
        self.open = 0
        self.waiting = _Waiting()


class Connections:
    """The connections of one gateway, and the ``refused`` (by reason) and ``displaced`` so far."""

    def __init__(self, limits: Limits) -> None:
        self.max = limits.connections
        self.open = 0
        self.active = 0
        self.displaced = 0
        self.refused: Counter[str] = Counter(total=0, address=0, client=0)
        self.rejections = RejectionLog()
        self._reserved = min(limits.connections_reserved, limits.connections // RESERVE_PART)
        self._per_address = limits.connections_per_address
        self._per_client = limits.connections_per_client
        self._proxies = Proxies(limits.trusted_proxies)
        self._sources: dict[str, _Source] = {}
        self._waiting = _Waiting()
        self._by_clients = Counter({_ALL: 0})
        self._of_client: Counter[str] = Counter()
        self._used_by: Counter[str] = Counter()
        self._from_address: Counter[str] = Counter()
        self._watching: Counter[str] = Counter()

    @property
    def are_scarce(self) -> bool:
        """Return whether only reserved connections are left."""
        return self._by_clients[_ALL] >= self.max - self._reserved

    @property
    def sources(self) -> int:
        """Return the number of addresses whose connections are counted."""
        return len(self._sources)

    def open_of(self, client_id: str) -> int:
        """Return how many requests and streams of the client are open."""
        return self._of_client.get(client_id, 0)

    def enter(self, address: str | None, close: Callable[[], None]) -> Connection:
        """Admit a new connection, displacing another one if necessary.

        Raises:
            Refused: ``too-many-connections-from-address`` or ``too-many-connections``: no other
                connection may be displaced.
        """
        peer = None if not address or address in self._proxies else source(address)
        of_peer = None if peer is None else self._sources.get(peer)
        if of_peer is not None and of_peer.open >= self._per_address:
            self._displace(of_peer.waiting, "address", peer)
        if self.open >= self.max:
            self._displace(self._waiting, "total", peer)
        connection = Connection(self, peer, close)
        if peer is not None:
            # Looked up again: the displaced connection may have been the last one of this source.
            self._sources.setdefault(peer, _Source()).open += 1
        self.open += 1
        self._add(connection)
        return connection

    def begin(self, connection: Connection) -> None:
        if not connection.active and _is_open(connection):
            self._discard(connection)
            self.active += 1
            connection.active = True
            self._add(connection)

    def end(self, connection: Connection) -> None:
        if connection.active and _is_open(connection):
            self._discard(connection)
            self.active -= 1
            connection.active = False
            self._add(connection)

    def leave(self, connection: Connection) -> None:
        if not _is_open(connection):
            return
        self._discard(connection)
        connection.close = _closed
        self.active -= connection.active
        self.open -= 1
        if connection.client is not None:
            _uncount(self._used_by, connection.client)
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

        def count(counts: Counter[str], name: str, most: int, reason: str) -> None:
            if counts[name] >= most:
                raise self._refusal(reason, peer)
            counts[name] += 1
            counted.append((counts, name))

        peer = connection.source or source_of(scope)
        share = max(1, self._reserved // RESERVE_PART)
        watches = scope["path"] in WATCHED and self._watching[peer] < share
        vouched = False
        try:
            if connection.source is None:
                count(self._from_address, peer, self._per_address, "address")
            if principal is not None:
                count(self._of_client, principal.client_id, self._per_client, "client")
                if principal.role is Role.CLIENT:
                    count(self._by_clients, _ALL, self.max - self._reserved, "total")
            elif watches:
                count(self._watching, peer, share, "address")
            if principal is not None or watches:
                vouched = True
                self._vouch(connection, principal)
            yield
        finally:
            if vouched:
                self._stop_vouching(connection)
            for counts, name in counted:
                _uncount(counts, name)

    def _vouch(self, connection: Connection, principal: Principal | None) -> None:
        self._discard(connection)
        connection.vouched += 1
        if principal is None or connection.client is not None or not _is_open(connection):
            return
        if self._used_by[principal.client_id] < self._per_client:
            connection.client = principal.client_id
            self._used_by[principal.client_id] += 1

    def _stop_vouching(self, connection: Connection) -> None:
        connection.vouched -= 1
        if _is_open(connection):
            self._add(connection)

    def _displace(self, waiting: _Waiting, reason: str, peer: str | None) -> None:
        victim = waiting.first(time.monotonic())
        if victim is None:
            raise self._refusal(reason, peer)
        self.displaced += 1
        close = victim.close
        self.leave(victim)
        close()

    def _refusal(self, reason: str, peer: str | None) -> Refused:
        self.refused[reason] += 1
        match reason:
            case "address":
                refused = Refused(
                    "too-many-connections-from-address",
                    f"An address may have at most {self._per_address:,} connections at once.",
                )
            case "client":
                refused = Refused(
                    "too-many-connections-of-client",
                    f"A client may have at most {self._per_client:,} requests, streams and "
                    "WebSockets at once.",
                )
            case _:
                refused = Refused(
                    "too-many-connections", "All connections of this gateway are in use."
                )
        self.rejections.note(peer or UNKNOWN, refused.code)
        return refused

    def _add(self, connection: Connection) -> None:
        if connection.vouched:
            return
        now = time.monotonic()
        self._waiting.add(connection, now)
        if connection.source is not None:
            self._sources[connection.source].waiting.add(connection, now)

    def _discard(self, connection: Connection) -> None:
        self._waiting.discard(connection)
        if connection.source is not None and connection.source in self._sources:
            self._sources[connection.source].waiting.discard(connection)


def counting_requests(app: ASGIApp) -> ASGIApp:
    """Wrap the application behind authentication to count each request for its principal.

    A WebSocket has no principal yet, so its route counts it.
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


_ALL = ""
"""The key of all clients together in a count."""


def _uncount(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name] and name != _ALL:
        del counts[name]


def _is_open(connection: Connection) -> bool:
    return connection.close is not _closed


def _closed() -> None:
    """Replace ``close`` of a connection that has been released."""
