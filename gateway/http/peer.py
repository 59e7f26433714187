"""Determine the address that a request comes from, and whether it came over TLS.

uvicorn replaces the connection's address and scheme with those that a trusted proxy forwards
(``PHOTOLOG_TRUSTED_PROXIES``), and ignores the forwarding headers of other peers.
"""

import ipaddress
from typing import Any

IPV6_PREFIX = 64
"""One host can use any address of such a network (RFC 4291, section 2.5.4)."""

UNKNOWN = "unknown"
"""Stands for a peer without an address, such as one on a Unix socket."""


def address_of(scope: Any) -> str:
    """Return the peer's address, as text for logs."""
    client = scope.get("client")
    return client[0] if client and client[0] else UNKNOWN


def source_of(scope: Any) -> str:
    """Return the key of limits per address: the IPv4 address, or the /64 of an IPv6 address."""
    return source(address_of(scope))


def source(address: str) -> str:
    """Return the source that ``address`` belongs to."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))


class Proxies:
    """The trusted proxies of a setting: addresses and networks, separated by commas."""

    def __init__(self, setting: str) -> None:
        named = (each.strip() for each in setting.split(","))
        self._networks = [ipaddress.ip_network(each) for each in named if each]

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if found.version == 6 and found.ipv4_mapped is not None:
            found = found.ipv4_mapped  # reported by a socket for both families
        return any(found in network for network in self._networks)

    def __str__(self) -> str:
        """Return the networks, separated by commas; IPv4 ones also in IPv6-mapped form.

        A socket for both families reports IPv4 peers in the mapped form.
        """
        mapped = [
            f"::ffff:{each.network_address}/{96 + each.prefixlen}"
            for each in self._networks
            if each.version == 4
        ]
        return ",".join([*map(str, self._networks), *mapped])


def is_secure(scope: Any) -> bool:
    """Return whether the client used TLS, to this gateway or to the trusted proxy before it."""
    return scope.get("scheme") in ("https", "wss")
