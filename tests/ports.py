"""Ports of this machine that nobody listens on.

They are below those that the system gives to whoever connects, and each worker of pytest has a
range of its own: nobody takes a port between the moment it is found and the start of its server.
"""

import os
import random
import socket

LOWEST, RANGE = 10_000, 1_000
RANGES = 10
BUS = RANGES * RANGE
"""A cluster's node also listens on a port that is 10,000 higher."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return ``count`` different ports; the one 10,000 above each is free too."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = LOWEST + worker % RANGES * RANGE
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(start, start + RANGE)
        if port not in found and _is_free(port) and _is_free(port + BUS):
            found.add(port)
    return sorted(found)


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
