"""A worker whose user may start no process waits, says so, and continues by itself."""

import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ops.systems import DEADLINE_S, System, jpeg, wait_until
from tests.system.processes import decoders_of

USER = 54_321
"""A user without other processes: the kernel never limits those of root."""

# The user may read the program wherever it is installed.
AS_USER = [
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv"
)


def test_photos_wait_for_processes_that_the_kernel_refuses(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for folder in (data, tmp_path):
        os.chown(folder, USER, USER)
    settings = {"decoders": "2", "stalled_after_s": "4"}
    options = ("--workers", "1")
    before, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    with System(data, *options, under=AS_USER, settings=settings) as system:
        wait_until(lambda: _decoders_running(data) == 2, "the worker runs")
        worker = system.pid_of("worker-1") or 0
        with httpx.Client(
            base_url=system.url, headers=system.login(), timeout=DEADLINE_S, trust_env=False
        ) as client:
            _limit_processes(worker, 1)
            for decoder in decoders_of(worker):
                os.kill(decoder, signal.SIGKILL)
            advice = "raise it for the worker's user"
            wait_until(lambda: advice in _health(client).get("reason", ""), "health")
            sent = [client.post("/api/photos/upload", files={"file": jpeg()}) for _ in range(5)]
            photos = [answer.json()["photoId"] for answer in sent]
            waiting = [
                client.get(
                    f"/api/photos/{photo}", params={"after": answer.headers["X-Log-Position"]}
                )
                for photo, answer in zip(photos, sent, strict=True)
            ]
            told = _health(client)
            running = _decoders_running(data)

            _limit_processes(worker, before)

            wait_until(lambda: all(_is_completed(client, photo) for photo in photos), "completed")
            histories = [
                client.get(f"/api/photos/{photo}/history").json()["items"] for photo in photos
            ]
            wait_until(lambda: _health(client)["status"] == "ok", "health")
            wait_until(lambda: _decoders_running(data) == 2, "the metric")
            assert system.pid_of("worker-1") == worker

    assert {answer.json()["processingStatus"] for answer in waiting} == {"queued"}
    assert (told["status"], told["workersWithoutDecoders"]) == ("degraded", 1)
    assert running == 0
    types = {event["type"] for history in histories for event in history}
    assert "photo.processing.stage.failed" not in types


def _limit_processes(pid: int, most: int) -> None:
    """Set the soft limit of the worker, as its own user: root may lack the right to do that."""
    limit = "unlimited" if most == resource.RLIM_INFINITY else most
    subprocess.run(
        [
            *AS_USER,
            "prlimit",
            f"--pid={pid}",
            f"--nproc={limit}:",
        ],
        check=True,
    )


def _health(client: httpx.Client) -> dict[str, Any]:
    return client.get("/health").json()["checks"]["workerPool"]


def _is_completed(client: httpx.Client, photo: str) -> bool:
    return client.get(f"/api/photos/{photo}").json()["processingStatus"] == "completed"


def _decoders_running(data: Path) -> float | None:
    """Return the metric of the worker; None while the worker starts."""
    file = data / "metrics" / "worker-1"
    if not file.exists():
        return None
    text = httpx.get(file.read_text().strip(), trust_env=False).text
    lines = [each for each in text.splitlines() if each.startswith("photolog_decoders_running ")]
    return float(lines[0].split()[1]) if lines else None
