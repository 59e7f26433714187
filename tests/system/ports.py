"""Find free ports of this machine."""

import socket
from contextlib import ExitStack

HIGHEST = 55_000
"""A cluster node also listens on the port 10,000 above its own."""


def free_ports(count: int) -> list[int]:
    """Return ``count`` different free ports."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listener.getsockname()[1]
            if port < HIGHEST and _is_free(port + 10_000):
                found.append(port)
    return found


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
