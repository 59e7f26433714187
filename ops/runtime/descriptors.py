"""File descriptors: how many a gateway may open, and how many connections fit.

Each connection takes one, and a second one while a file is sent or received on it. The rest is for
Redis, the read model, and connections that are accepted only to be refused.
"""

import resource

import msgspec

from gateway.http.limits import Limits
from gateway.http.server import ACCEPTED_AT_ONCE, TURNED_AWAY_AT_ONCE
from ops.errors import UserError
from store.redis.connection import MAX_CONNECTIONS

A_CONNECTION = 2

OTHERS = 64
"""The read model, the listening socket, log files, libraries."""

KEPT = MAX_CONNECTIONS + ACCEPTED_AT_ONCE + TURNED_AWAY_AT_ONCE + OTHERS

FEWEST = 32
"""Connections below which a gateway does not start."""


def raise_limit() -> int:
    """Let this process open as many files as the system lets it; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS takes no unlimited one, nor more than the kernel's
            return soft
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def fitted(limits: Limits, descriptors: int) -> tuple[Limits, str]:
    """The limits with no more connections than the descriptors suffice for; what was lowered.

    Raises:
        UserError: they suffice for next to none.
    """
    if descriptors == resource.RLIM_INFINITY:
        return limits, ""
    most = (descriptors - KEPT) // A_CONNECTION
    if limits.connections <= most:
        return limits, ""
    if most < FEWEST:
        raise UserError(
            f"this process may open {descriptors:,} files, and a gateway needs at least "
            f"{KEPT + A_CONNECTION * FEWEST:,}: raise its limit (ulimit -n, LimitNOFILE)"
        )
    part = most / limits.connections
    lowered = msgspec.structs.replace(
        limits,
        connections=most,
        connections_per_address=max(1, int(part * limits.connections_per_address)),
        connections_per_client=max(1, int(part * limits.connections_per_client)),
    )
    return lowered, (
        f"lowered from {limits.connections:,} to {most:,}, because this process may open "
        f"{descriptors:,} files"
    )
