"""A server that a test has for itself, to take away and to give back."""

import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ops.embedded import valkey_binary

DEADLINE_S = 10.0


def url_in(folder: Path) -> str:
    """That of the server in ``folder``, whether it runs or not."""
    return f"unix://{folder}/own.sock"


@contextmanager
def valkey(folder: Path) -> Generator[str]:
    """A server that keeps what it is told in ``folder``; there in the block, killed at its end."""
    path = folder / "own.sock"
    path.unlink(missing_ok=True)
    server = subprocess.Popen(
        [
            *(str(valkey_binary()), "--port", "0", "--unixsocket", str(path)),
            *("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + DEADLINE_S
        while not _answers(path):
            if server.poll() is not None or time.monotonic() > give_up:
                pytest.fail("the server did not start")
            time.sleep(0.01)
        yield url_in(folder)
    finally:
        server.kill()
        server.wait()


def _answers(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(16) == b"+PONG\r\n"
    return False
