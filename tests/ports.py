"""Find free ports of this machine.

They are below those that the system assigns to outgoing connections, and each pytest worker has its
own range: no other process takes a port between the check and the start of its server.
"""

import os
import random
import socket
from collections import deque

LOWEST, RANGE = 10_000, 1_000
RANGES = 10
BUS = RANGES * RANGE
"""A cluster node also listens on the port 10,000 above its own."""

_recent: deque[int] = deque(maxlen=RANGE // 4)
"""Ports that were found and may not be in use yet: two servers may be starting at a time."""


def free_port() -> int:
    """Return a free port."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return ``count`` different ports; the port 10,000 above each is free, too."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = LOWEST + worker % RANGES * RANGE
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(start, start + RANGE)
        if port not in _recent and _is_free(port) and _is_free(port + BUS):
            _recent.append(port)
            found.add(port)
    return sorted(found)


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
