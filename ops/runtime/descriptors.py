"""File descriptors: how many a gateway may open, and how many connections they suffice for.

A connection takes one, and a second one while it sends or receives a file. The rest is for Redis,
the read model, and connections that are accepted only to be rejected.
"""

import resource

import msgspec

from gateway.http.limits import Limits
from gateway.http.server import ACCEPTED_AT_ONCE, TURNED_AWAY_AT_ONCE
from ops.errors import UserError
from store.redis.connection import MAX_CONNECTIONS

PER_CONNECTION = 2

OTHERS = 64
"""The read model, the listening socket, log files, libraries."""

RESERVED = MAX_CONNECTIONS + ACCEPTED_AT_ONCE + TURNED_AWAY_AT_ONCE + OTHERS

MIN_CONNECTIONS = 32
"""A gateway that could hold fewer connections does not start."""


def fitted(limits: Limits, descriptors: int) -> tuple[Limits, str]:
    """Lower the connection limits to what the descriptors suffice for.

    Returns the limits, and a note about what was lowered, which is empty if nothing was.

    Raises:
        UserError: the descriptors suffice for fewer than ``MIN_CONNECTIONS``.
    """
    if descriptors == resource.RLIM_INFINITY:
        return limits, ""
    most = (descriptors - RESERVED) // PER_CONNECTION
    if limits.connections <= most:
        return limits, ""
    if most < MIN_CONNECTIONS:
        raise UserError(
            f"this process may open {descriptors:,} files, and a gateway needs at least "
            f"{RESERVED + PER_CONNECTION * MIN_CONNECTIONS:,}: raise its limit (ulimit -n, "
            "LimitNOFILE)"
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
