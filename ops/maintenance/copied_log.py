"""Use the log of a data folder on which no system runs.

To read it, a temporary server loads a copy of its files. Nothing is written to the folder, so it
may be a backup, or evidence. To import a log, a server runs on the folder itself.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio

from handlers.parent_death import bound_to_parent
from ops.config.settings import Settings
from ops.errors import UserError
from ops.memory import log_bytes
from ops.process.append_only import FILES
from ops.process.embedded_valkey import Valkey
from ops.process.lock import is_locked, locked

LOOK_S = 0.05

COPY = "photolog-copy-"
"""How the names of folders with copies begin, among the temporary ones."""


def lies_idle(settings: Settings) -> bool:
    """Return whether the folder holds a log that no `up` serves."""
    files = settings.folder / "valkey" / FILES
    return settings.redis_url is None and files.is_dir() and not is_locked(settings.folder)


@asynccontextmanager
async def serving_copy(settings: Settings) -> AsyncGenerator[str]:
    """Serve a copy of the folder's log while the block runs, and yield the server's URL.

    Raises:
        UserError: the log cannot be copied or read, or no server is bundled for this machine.
    """
    with _scratch() as scratch:
        try:
            shutil.copytree(settings.folder / "valkey" / FILES, Path(scratch) / FILES)
        except (OSError, shutil.Error) as error:
            raise UserError(f"cannot copy the log in {settings.folder}: {error}") from error
        valkey = Valkey(Path(scratch))
        try:
            command = valkey.prepare()
        except (OSError, UserError) as error:
            reason = str(error).replace(scratch, str(settings.folder / "valkey"))  # not the copy
            raise UserError(f"cannot read the log in {settings.folder}: {reason}") from error
        async with _served(valkey, command, settings):
            yield valkey.url


@contextmanager
def _scratch() -> Generator[str]:
    """Yield a new folder, which is removed after the block; first remove those of killed processes.

    It is locked during the block, so that others do not remove it.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{COPY}*"):
        _remove_unlocked(left)
    while True:
        with tempfile.TemporaryDirectory(prefix=COPY, ignore_cleanup_errors=True) as folder:
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if Path(folder).exists():  # otherwise it was removed before it was locked
                    yield folder
                    return
            finally:
                os.close(handle)


def _remove_unlocked(folder: Path) -> None:
    """Remove a folder of this user that no process has locked."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # another user's, or removed meanwhile
        return
    try:
        if os.fstat(handle).st_uid == os.getuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(handle)


@asynccontextmanager
async def serving_alone(settings: Settings) -> AsyncGenerator[str]:
    """Serve the folder's own log while the block runs, and yield the server's URL.

    The folder is locked meanwhile, so nothing else of Photolog uses the log.

    Raises:
        UserError: another process uses the folder, or no server is bundled for this machine.
    """
    with locked(settings.folder):
        valkey = Valkey(settings.folder / "valkey", log_bytes(settings.redis_memory_bytes))
        try:
            command = valkey.prepare()
        except OSError as error:
            raise UserError(f"cannot start the log in {settings.folder}: {error}") from error
        async with _served(valkey, command, settings):
            yield valkey.url


@asynccontextmanager
async def _served(valkey: Valkey, command: list[str], settings: Settings) -> AsyncGenerator[None]:
    process = await anyio.open_process(bound_to_parent(command), stdout=None, stderr=None)
    try:
        while await valkey.state() != "ready":
            if process.returncode is not None:
                raise UserError(f"cannot read the log in {settings.folder}: {valkey.last_words()}")
            await anyio.sleep(LOOK_S)
        yield
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
        valkey.clean()
