"""The log of a data folder on which nothing runs: a server of our own reads a copy of its file.

Nothing in the folder is written, so it may be a backup, or evidence.
"""

import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from ops.config.settings import Settings
from ops.errors import UserError
from ops.process.append_only import FILES
from ops.process.embedded_valkey import Valkey
from ops.process.lock import is_locked
from ops.process.parent_death import bound_to_parent

LOOK_S = 0.05


def lies_idle(settings: Settings) -> bool:
    """Whether the folder has the file of a log, and no `up` that serves it."""
    files = settings.folder / "valkey" / FILES
    return settings.redis_url is None and files.is_dir() and not is_locked(settings.folder)


@asynccontextmanager
async def serving_copy(settings: Settings) -> AsyncGenerator[str]:
    """The URL of a server that has the log of the folder, until the block ends.

    Raises:
        UserError: the file cannot be copied or read, or there is no server for this machine.
    """
    with tempfile.TemporaryDirectory(prefix="photolog-") as scratch:
        try:
            shutil.copytree(settings.folder / "valkey" / FILES, Path(scratch) / FILES)
        except (OSError, shutil.Error) as error:
            raise UserError(f"the log in {settings.folder} cannot be copied: {error}") from error
        valkey = Valkey(Path(scratch))
        try:
            command = valkey.prepare()
        except (OSError, UserError) as error:
            reason = str(error).replace(scratch, str(settings.folder / "valkey"))  # not the copy
            raise UserError(f"the log in {settings.folder} cannot be read: {reason}") from error
        process = await anyio.open_process(bound_to_parent(command), stdout=None, stderr=None)
        try:
            while await valkey.state() != "ready":
                if process.returncode is not None:
                    raise UserError(
                        f"the log in {settings.folder} cannot be read: {valkey.last_words()}"
                    )
                await anyio.sleep(LOOK_S)
            yield valkey.url
        finally:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
            valkey.clean()
