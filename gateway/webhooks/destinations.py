"""Which addresses webhooks may reach: public ones, and networks that a setting allows.

A name is resolved once for each connection, all of its addresses are checked, and the connection
goes to one of those that passed: an answer that changes afterwards changes nothing. TLS still
verifies the certificate for the name.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable

import anyio
from anyio import to_thread

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

RESOLVERS = 64
"""Names that are resolved at once; one that gets no answer holds a thread for some time."""

MOST_ADDRESSES = 32
"""Addresses of one name that are looked at."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind a translator (RFC 6052)."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The global unicast addresses of IPv6 (RFC 4291)."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""A function that returns the addresses of a name; raises OSError."""


class NotAllowed(Exception):
    """The name leads to addresses that webhooks may not reach; the message says so."""


def parse_networks(listed: str) -> tuple[Network, ...]:
    """Return addresses and networks separated by commas; raises ValueError."""
    parts = (part.strip() for part in listed.split(","))
    return tuple(ipaddress.ip_network(part) for part in parts if part)


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
        for address in found:
            is_listed = self._is_listed(address)
            if is_listed or (encrypted and is_public(address)):
                return str(address)
        if not encrypted and any(is_public(each) for each in found):
            raise NotAllowed("a public address needs https://")
        raise NotAllowed("the host has no public address (PHOTOLOG_WEBHOOK_PRIVATE_ADDRESSES)")

    async def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            return [_plain(host.strip("[]"))]
        except ValueError:
            found = await self._resolve(host, port)
        return [_plain(each) for each in dict.fromkeys(found[:MOST_ADDRESSES])]

    async def _ask_system(self, host: str, port: int) -> list[str]:
        def ask() -> list[str]:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [str(answer[4][0]).partition("%")[0] for answer in answers]

        return await to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limiter)

    def _is_listed(self, address: Address) -> bool:
        return any(
            network.version == address.version and address in network for network in self._private
        )


def is_public(address: Address) -> bool:
    """Return whether the address, and any IPv4 address inside it, is one of the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    if address not in _UNICAST or not address.is_global:
        return False
    return address.sixtofour is None or is_public(address.sixtofour)


def _plain(text: str) -> Address:
    """Return the address, an IPv4 address that is mapped to IPv6 as itself."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
