"""Which IP addresses webhooks may reach: public ones by TLS, and networks that a setting allows."""

import ipaddress
import socket
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind a translator (RFC 6052)."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The global unicast addresses of IPv6 (RFC 4291)."""

_LOOPBACK: tuple[Address, ...] = (
    ipaddress.IPv4Address("127.0.0.1"),
    ipaddress.IPv6Address("::1"),
)


class NotAllowed(Exception):
    """Webhooks may reach none of the addresses; the message says why."""


def parse_networks(listed: str) -> tuple[Network, ...]:
    """Return addresses and networks separated by commas; raises ValueError."""
    parts = (part.strip() for part in listed.split(","))
    return tuple(ipaddress.ip_network(part) for part in parts if part)


def plain(text: str) -> Address:
    """Return the address, an IPv4 address that is mapped to IPv6 as itself; raises ValueError."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def written_addresses(host: str) -> tuple[Address, ...]:
    """Return the addresses that the text of a host states; () for a name that has to be resolved.

    Includes the forms of IPv4 that resolvers understand, such as ``127.1`` and ``0x7f000001``, and
    ``localhost`` (RFC 6761).
    """
    host = host.strip("[]").removesuffix(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return _LOOPBACK
    try:
        return (plain(host),)
    except ValueError:
        pass
    try:
        return (ipaddress.IPv4Address(socket.inet_aton(host)),)
    except OSError:
        return ()


def allowed(
    addresses: Sequence[Address], private: Sequence[Network], *, encrypted: bool
) -> Address:
    """Return the first address that may be reached; without TLS only one of ``private``.

    Raises:
        NotAllowed: webhooks may reach none of them.
    """
    for address in addresses:
        if _is_listed(address, private) or (encrypted and is_public(address)):
            return address
    if not encrypted and any(is_public(each) for each in addresses):
        raise NotAllowed("a public address needs https://")
    raise NotAllowed("the host has no public address (PHOTOLOG_WEBHOOK_PRIVATE_ADDRESSES)")


def is_public(address: Address) -> bool:
    """Return whether the address, and any IPv4 address inside it, is one of the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    if address not in _UNICAST or not address.is_global:
        return False
    return address.sixtofour is None or is_public(address.sixtofour)


def _is_listed(address: Address, private: Sequence[Network]) -> bool:
    return any(network.version == address.version and address in network for network in private)
