"""Run a complete Photolog for a measurement, in a temporary data folder."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

READY_S = 30.0

ALONE = {
    f"PHOTOLOG_{name}": ""
    for name in (
        "REDIS_URL",
        "APPEND_WAIT_REPLICAS",
        "S3_ENDPOINT",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
    )
}
"""Unset settings that name other servers."""


class System:
    """A running ``photolog up``: its URL, tokens, processes and their CPU time."""

    def __init__(self, process: subprocess.Popen[bytes], data: Path, url: str) -> None:
        self._process = process
        self.data = data
        self.url = url

    def token(self, client_id: str, *options: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "ops.cli.main", "token", "--client", client_id, *options],
            env={**os.environ, "PHOTOLOG_DATA": str(self.data)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def client(self, client_id: str) -> httpx.AsyncClient:
        """Return an HTTP client signed in as ``client_id``."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token(client_id)}"},
            timeout=60,
        )

    def processes(self) -> dict[int, str]:
        """Return the role of each process under the supervisor, by its pid."""
        found = {self._process.pid: "supervisor"}
        parents = _parents()
        grown = True
        while grown:
            grown = False
            for pid, parent in parents.items():
                if parent in found and pid not in found:
                    found[pid] = _role(pid)
                    grown = True
        return found

    def cpu_s(self) -> dict[str, float]:
        """Return the seconds of CPU time used so far, by role."""
        used: dict[str, float] = {}
        for pid, role in self.processes().items():
            used[role] = used.get(role, 0.0) + cpu_s_of(pid)
        return used

    def pid_of(self, role: str) -> int:
        return next(pid for pid, name in self.processes().items() if name == role)


@contextmanager
def running(*options: str, **environment: str) -> Generator[System]:
    """Run ``photolog up`` on a free port; afterwards stop it and remove its data.

    It uses only servers that ``environment`` names, so that no real log is measured by mistake.
    """
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as folder:
        data = Path(folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.cli.main", "up", "--port", "0", *options],
            env={**os.environ, **ALONE, **environment, "PHOTOLOG_DATA": str(data)},
            stdout=subprocess.DEVNULL,
        )
        try:
            yield System(process, data, _wait_for_url(process, data))
        finally:
            process.terminate()
            process.wait()


def _wait_for_url(process: subprocess.Popen[bytes], data: Path) -> str:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        if (data / "url").exists():
            url = (data / "url").read_text("utf-8").strip()
            try:
                if httpx.get(f"{url}/health/ready").is_success:
                    return url
            except httpx.TransportError:
                pass
        time.sleep(0.05)
    raise RuntimeError("photolog up did not become ready")


def _parents() -> dict[int, int]:
    found: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        found[int(entry.parent.name)] = int(fields[1])
    return found


def _role(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "other"
    roles = ("gateway", "projector", "worker", "archiver")
    known = (*roles, "valkey-server", "handlers.decoder.child")
    return next((role for role in known for word in words if word.endswith(role)), "other")


def cpu_s_of(pid: int) -> float:
    """Return the seconds of CPU time that the process has used so far; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory_bytes(pid: int) -> int:
    """Return the peak memory of the process since ``forget_peak``."""
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith("VmHWM:"):
            return int(row.split()[1]) * 1024
    raise RuntimeError("this system does not report the peak memory of a process")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")
