"""A gateway that runs out of file descriptors rejects requests, and recovers afterwards."""

import resource
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.ops.systems import DEADLINE_S, System, jpeg, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="changes limits of other processes")

SPARE = 4


def test_a_gateway_without_descriptors_recovers_with_them(shared_system: System) -> None:
    """The limit is lowered while it runs, which none of its own bounds can anticipate."""
    host, port = shared_system.url.removeprefix("http://").split(":")
    token = shared_system.photolog("token", "--client", "alice").stdout.strip()
    gateway = shared_system.pid_of("gateway") or 0
    before = resource.prlimit(gateway, resource.RLIMIT_NOFILE)
    with httpx.Client(
        base_url=shared_system.url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=DEADLINE_S,
        trust_env=False,
    ) as client:
        assert client.post("/api/photos/upload", files={"file": jpeg()}).status_code == 201
        open_now = _descriptors(gateway)
        resource.prlimit(gateway, resource.RLIMIT_NOFILE, (open_now + SPARE, before[1]))
        with ExitStack() as stack:
            for _ in range(50):
                crowd = stack.enter_context(socket.create_connection((host, int(port))))
                crowd.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            until = time.monotonic() + 2
            while time.monotonic() < until:  # the hub polls twice a second
                client.get("/api/photos")
        resource.prlimit(gateway, resource.RLIMIT_NOFILE, before)

        def streams() -> bool:
            with client.stream("GET", "/api/events", params={"room": "client"}) as stream:
                return stream.status_code == 200 and next(stream.iter_lines()) == "event: ready"

        wait_until(streams, "the rooms")
        wait_until(
            lambda: client.get("/health/ready").json()["checks"]["rooms"]["status"] != "down",
            "the hub",
        )
        assert client.post("/api/photos/upload", files={"file": jpeg()}).status_code == 201
    assert shared_system.pid_of("gateway") == gateway


def _descriptors(pid: int) -> int:
    """Return the highest open descriptor, which the kernel compares with the limit."""
    return max(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()) + 1
