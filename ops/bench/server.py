"""Run a Valkey for one measurement; each append is on the disk before it is answered."""

import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ops.bench.system import cpu_s_of
from ops.process.embedded_valkey import valkey_binary


class Server:
    """A running Valkey; ``folder`` is for other files of the measurement."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path, socket: Path) -> None:
        self._process = process
        self.folder = folder
        self.socket = socket
        self.url = f"unix://{socket}"

    def cpu_s(self) -> float:
        """Return the seconds of CPU time used so far."""
        return cpu_s_of(self._process.pid)


@contextmanager
def serving(*options: str) -> Generator[Server]:
    """Run the server with these options, which override the usual ones."""
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as folder:
        socket = Path(folder, "valkey.sock")
        process = subprocess.Popen(
            [
                *(str(valkey_binary()), "--port", "0", "--unixsocket", str(socket)),
                *("--dir", folder, "--save", "", "--appendonly", "yes"),
                *("--appendfsync", "always", "--loglevel", "warning"),
                *options,
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            while not socket.exists() and process.poll() is None:
                time.sleep(0.01)
            yield Server(process, Path(folder), socket)
        finally:
            process.kill()
            process.wait()
