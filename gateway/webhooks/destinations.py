"""Connects webhooks to addresses that they may reach.

A name is resolved once for each connection, all of its addresses are checked, and the connection
goes to one of those that passed: an answer that changes afterwards changes nothing. TLS still
verifies the certificate for the name.
"""

import socket
from collections.abc import Awaitable, Callable

import anyio
from anyio import to_thread

from domain.webhooks.addresses import Address, Network, allowed, plain

RESOLVERS = 64
"""Names that are resolved at once; one that gets no answer holds a thread for some time."""

MOST_ADDRESSES = 32
"""Addresses of one name that are looked at."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""A function that returns the addresses of a name; raises OSError."""


class Destinations:
    """Decides where connections may go. ``private`` are networks that are allowed as well."""

    def __init__(self, private: tuple[Network, ...] = (), resolve: Resolve | None = None) -> None:
        self._private = private
        self._limiter = anyio.CapacityLimiter(RESOLVERS)
        self._resolve = resolve or self._ask_system

    async def address_of(self, host: str, port: int, *, encrypted: bool) -> str:
        """Return the address to connect to; without TLS only one that a setting allows.

        Raises:
            NotAllowed: the name has no address that may be reached.
            OSError: it cannot be resolved.
        """
        found = await self._addresses(host, port)
        return str(allowed(found, self._private, encrypted=encrypted))

    async def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            return [plain(host.strip("[]"))]
        except ValueError:
            found = await self._resolve(host, port)
        return [plain(each) for each in dict.fromkeys(found[:MOST_ADDRESSES])]

    async def _ask_system(self, host: str, port: int) -> list[str]:
        def ask() -> list[str]:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [str(answer[4][0]).partition("%")[0] for answer in answers]

        return await to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limiter)
