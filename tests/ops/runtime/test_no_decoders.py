"""A worker whose user may start no process waits, says so, and continues by itself."""

import os
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ops.systems import DEADLINE_S, System, jpeg, wait_until
from tests.system.processes import decoders_of

USER = 54_321
"""A user without other processes: the kernel never limits those of root."""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv"
)


def test_photos_wait_for_processes_that_the_kernel_refuses(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for folder in (data, tmp_path):
        os.chown(folder, USER, USER)
    # The user may read the program wherever it is installed.
    reads = "+dac_read_search"
    under = [
        *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
        *(f"--inh-caps={reads}", f"--ambient-caps={reads}"),
    ]
    settings = {"decoders": "2", "stalled_after_s": "4"}
    options = ("--workers", "1")
    with System(data, *options, under=under, settings=settings) as system:
        worker = system.pid_of("worker-1") or 0
        with httpx.Client(
            base_url=system.url, headers=system.login(), timeout=DEADLINE_S, trust_env=False
        ) as client:
            before = resource.prlimit(worker, resource.RLIMIT_NPROC)
            resource.prlimit(worker, resource.RLIMIT_NPROC, (1, before[1]))
            for decoder in decoders_of(worker):
                os.kill(decoder, signal.SIGKILL)
            wait_until(lambda: _health(client).get("workersWithoutDecoders") == 1, "health")
            photos = [
                client.post("/api/photos/upload", files={"file": jpeg()}).json()["photoId"]
                for _ in range(5)
            ]
            waiting = [client.get(f"/api/photos/{photo}").json() for photo in photos]
            told = _health(client)
            running = _decoders_running(data)

            resource.prlimit(worker, resource.RLIMIT_NPROC, before)

            wait_until(lambda: all(_is_completed(client, photo) for photo in photos), "completed")
            histories = [
                client.get(f"/api/photos/{photo}/history").json()["items"] for photo in photos
            ]
            wait_until(lambda: _health(client)["status"] == "ok", "health")
            wait_until(lambda: _decoders_running(data) == 2, "the metric")
            assert system.pid_of("worker-1") == worker

    assert {photo["processingStatus"] for photo in waiting} == {"queued"}
    assert told["status"] == "degraded"
    assert "raise it for the worker's user" in told["reason"]
    assert running == 0
    types = {event["type"] for history in histories for event in history}
    assert "photo.processing.stage.failed" not in types


def _health(client: httpx.Client) -> dict[str, Any]:
    return client.get("/health").json()["checks"]["workerPool"]


def _is_completed(client: httpx.Client, photo: str) -> bool:
    return client.get(f"/api/photos/{photo}").json()["processingStatus"] == "completed"


def _decoders_running(data: Path) -> float:
    url = (data / "metrics" / "worker-1").read_text().strip()
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    [line] = [each for each in text.splitlines() if each.startswith("photolog_decoders_running ")]
    return float(line.split()[1])
