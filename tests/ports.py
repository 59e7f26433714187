"""Find free ports of this machine.

They are below those that the system assigns to outgoing connections, and each pytest worker has its
own range: no other process takes a port between the check and the start of its server. A claim
keeps other runs of the tests on this machine away from it meanwhile.
"""

import atexit
import os
import random
import socket
import sys
from collections import deque

LOWEST, RANGE = 10_000, 1_000
RANGES = 10
BUS = RANGES * RANGE
"""A cluster node also listens on the port 10,000 above its own."""

KEPT = 32
"""More ports than are found while servers on earlier ones start."""

_claims: deque[socket.socket] = deque()
"""Claims of the ports that were found last, which may not be in use yet."""


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
        if _is_free(port) and _is_free(port + BUS) and _claim(port):
            found.add(port)
    return sorted(found)


def _claim(port: int) -> bool:
    """Claim the port; return whether no process has claimed it, this one included."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        if sys.platform == "linux":
            claim.bind(f"\0photolog-tests-{port}")  # the name ends with the socket
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    if len(_claims) > KEPT:
        _claims.popleft().close()
    return True


@atexit.register
def _release() -> None:
    for claim in _claims:
        claim.close()


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
