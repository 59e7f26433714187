"""The words of ``photolog health``: a check that is ok does not sound like a fault."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.ops.systems import run

OWN_LIMITS = "decoders set their own memory limits (the worker lacks CAP_SYS_RESOURCE)"
WORKERS_USER = "decoders run as the worker's user (the worker is not root)"
PAUSED = "paused by an operator: a (`photolog queues resume a`)"
SANDBOX = "sandbox needs no action: "
NOT_CHECKED = "file not checked yet (the check takes longer than health waits)"


@contextmanager
def answering(**checks: dict[str, Any]) -> Generator[str]:
    """Yield the URL of a server with this health."""
    body = json.dumps({"status": "ok", "checks": checks}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # its parent's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            {"status": "ok", "workers": 1, "decodersWithout": ["memory-limit", "own-user"]},
            f"ok        1 alive, {SANDBOX}{OWN_LIMITS}, {WORKERS_USER}",
        ),
        (
            {"status": "degraded", "reason": "mend it", "decodersWithout": ["landlock", "seccomp"]},
            "degraded  mend it, decoders run without landlock, seccomp",
        ),
        (
            {"status": "ok", "decodersWithout": ["of-a-newer-version"]},
            "ok        decoders run without of-a-newer-version",
        ),
        (
            {"status": "ok", "reason": "the log is on one server without a replica"},
            "ok        note: the log is on one server without a replica",
        ),
        (
            {"status": "ok", "memoryBytes": 1_500_000, "memoryMaxBytes": 0},
            "ok        1.5 MB of memory in use, no limit set on the server",
        ),
        (
            {"status": "ok", "workers": 2, "paused": ["a", "b"]},
            "ok        2 alive, paused by an operator: a, b (`photolog queues resume a`)",
        ),
        (
            {
                "status": "ok",
                "paused": ["a"],
                "draining": ["a"],
                "decodersWithout": ["own-user"],
            },
            f"ok        {PAUSED}, tasks still running in a, {SANDBOX}{WORKERS_USER}",
        ),
        (
            {"status": "ok", "lagMs": 0, "integrity": "unknown"},
            f"ok        has all events, {NOT_CHECKED}",
        ),
    ],
)
def test_a_check_says_which_action_it_needs_or_that_it_needs_none(
    check: dict[str, Any], said: str
) -> None:
    with answering(workerPool=check) as url:
        shown = run("health", "--url", url)

    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[1] == f"  worker pool       {said}"
