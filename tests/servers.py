"""Start and stop servers for tests."""

import os
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ops.process.embedded_valkey import valkey_binary

LONG = bool(os.environ.get("LONG_TESTS"))
"""Whether tests that draw samples try all cases, or many more samples."""

DEADLINE_S = 10.0


def unavailable(what: str) -> None:
    """Fail the test in CI because a service is missing; elsewhere skip it, saying so."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


_running: dict[Path, "subprocess.Popen[bytes]"] = {}


def process_of(folder: Path) -> "subprocess.Popen[bytes]":
    """Return the process of the server that runs in ``folder``."""
    return _running[folder]


def url_in(folder: Path) -> str:
    """Return the URL of the server in ``folder``, whether it runs or not."""
    return f"unix://{folder}/own.sock"


DEBIAN_REDIS = "/usr/bin/redis-server"
"""The oldest supported server."""


@contextmanager
def valkey(folder: Path, *options: str, binary: str | None = None) -> Generator[str]:
    """Run a server that stores its data in ``folder``, and kill it when the block ends.

    It is the bundled one unless ``binary`` names another; later ``options`` override earlier ones.
    """
    path = folder / "own.sock"
    path.unlink(missing_ok=True)
    server = subprocess.Popen(
        [
            *(binary or str(valkey_binary()), "--port", "0", "--unixsocket", str(path)),
            *("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always"),
            *options,
        ],
        stdout=subprocess.DEVNULL,
    )
    _running[folder] = server
    try:
        give_up = time.monotonic() + DEADLINE_S
        while not _answers(path):
            if server.poll() is not None or time.monotonic() > give_up:
                pytest.fail("the server did not start")
            time.sleep(0.01)
        yield url_in(folder)
    finally:
        if _running.get(folder) is server:
            del _running[folder]
        server.kill()
        server.wait()


def _answers(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(7) in (b"+PONG\r\n", b"-NOAUTH")
    return False
