"""Resources that only one system can hold: a data folder and a port."""

import fcntl
import itertools
import logging
import os
import socket
import time
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from errno import EADDRINUSE
from pathlib import Path

from ops.errors import UserError
from store.blobs.disk import make_folder

logger = logging.getLogger("photolog")

TAKEOVER_S = 5.0
"""How long the processes of a killed supervisor may take to end."""

NAMES = "commands"
"""The folder of the names of commands that store files, in the data folder."""

BACKLOG = 2048
POLL_S = 0.05

_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # nothing is bound to it here


class StartFailed(UserError):
    """The system cannot start here; the message says what to change."""


@contextmanager
def locked(folder: Path) -> Generator[int]:
    """Lock the folder, creating it if necessary, and yield the descriptor of its lock.

    A process that inherits the descriptor holds the lock too, until it ends.

    Raises:
        StartFailed: another system holds the lock, or the folder is unusable.
    """
    try:
        make_folder(folder, 0o700)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartFailed(
            f"PHOTOLOG_DATA: cannot use the folder {folder}: {error.strerror}"
        ) from error
    try:
        _acquire(fd, folder)
        yield fd
    finally:
        os.close(fd)


def is_locked(folder: Path) -> bool:
    """Return whether a system holds the folder's lock; false if this user may not look."""
    try:
        fd = os.open(folder / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


@contextmanager
def named(folder: Path, kind: str) -> Generator[str]:
    """Yield a name for this process, the first one of this ``kind`` that is free in the folder.

    So the name of a process that was killed is used again, and its next owner can clear up what it
    has left. Names are locks, which end with their process.

    Raises:
        StartFailed: the folder is unusable.
    """
    names = (f"{kind}-{number}" for number in itertools.count(1))
    name, fd = next(found for name in names if (found := _name(folder, name)) is not None)
    try:
        yield name
    finally:
        os.close(fd)


@contextmanager
def alone(folder: Path, kind: str, command: str) -> Generator[str]:
    """Yield a name for this process, the only one of this ``kind`` in the folder, as ``named``.

    Raises:
        StartFailed: the folder is unusable, or another process runs the ``command`` there.
    """
    found = _name(folder, kind)
    if found is None:
        raise StartFailed(f"another `{command}` runs on {folder}: wait until it has ended")
    name, fd = found
    try:
        yield name
    finally:
        os.close(fd)


def _name(folder: Path, name: str) -> tuple[str, int] | None:
    """Take the name; return it with the descriptor of its lock, or None if it is taken."""
    try:
        make_folder(folder, 0o700)
        make_folder(folder / NAMES, 0o700)
        fd = os.open(folder / NAMES / name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartFailed(
            f"PHOTOLOG_DATA: cannot use the folder {folder}: {error.strerror}"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return name, fd


def machine(folder: Path) -> str:
    """Return a name for the system on this folder, unique among those of this machine."""
    return f"{socket.gethostname()}-{zlib.crc32(str(folder).encode()):08x}"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that accepts connections.

    Raises:
        StartFailed: the host has no address, or the port is in use or forbidden.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise StartFailed(f"PHOTOLOG_HOST: {host} has no address: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == EADDRINUSE:
            message = (
                f"PHOTOLOG_PORT: port {port} of {host} is in use: stop the process that uses it, "
                "or choose another port with --port (0 takes a free one)"
            )
        else:
            message = (
                f"PHOTOLOG_HOST, PHOTOLOG_PORT: cannot listen on port {port} of {host}: "
                f"{error.strerror}"
            )
        raise StartFailed(message) from error
    return listener


def reachable(listener: socket.socket) -> tuple[str, int]:
    """Return the host and port at which this machine reaches the socket."""
    name: tuple[str, int] = listener.getsockname()[:2]
    return _THIS_MACHINE.get(name[0], name[0]), name[1]


def base_url(listener: socket.socket) -> str:
    """Return the URL at which this machine reaches the socket."""
    host, port = reachable(listener)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _acquire(fd: int, folder: Path) -> None:
    until = time.monotonic() + TAKEOVER_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            holder = os.pread(fd, 20, 0).decode()
            if holder and _is_alive(int(holder)):
                raise StartFailed(
                    f"Photolog already runs on {folder}, as process {holder}: stop it first, or "
                    "choose another folder with --data"
                ) from error
            if time.monotonic() > until:
                raise StartFailed(
                    f"processes of a killed Photolog still use {folder}: end them first"
                ) from error
        time.sleep(POLL_S)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
    except OSError as error:  # the lock works without it
        logger.warning("cannot write the process id to %s: %s", folder / "lock", error.strerror)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
