"""A worker survives replies that Redis should never give, and logs them."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from handlers.decoder.pool import DecoderPool
from handlers.worker.worker import Worker
from store.background import Background
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.redis.connection import connect
from tests.handlers.workers import DEADLINE_S, types_when_ended, uploaded
from tests.servers import valkey
from tests.system.photos import jpeg


async def test_a_worker_waits_while_redis_gives_unexpected_replies(
    own_folder: Path, blobs: FolderBlobs, children: DecoderPool, caplog: pytest.LogCaptureFixture
) -> None:
    """For example the error of a command that is forbidden inside a script."""
    background = Background()
    types: list[str] = []
    with valkey(own_folder) as url:
        log, administrator = await Log.open(connect(url)), connect(url)
        untyped: Any = administrator
        await untyped.execute_command("ACL SETUSER", "default", "-xreadgroup")
        worker = Worker(log, blobs, children, consumer="one", background=background)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            with anyio.fail_after(DEADLINE_S):
                while "partition 0 is waiting" not in caplog.text:
                    await anyio.sleep(0.01)

            await untyped.execute_command("ACL SETUSER", "default", "+xreadgroup")
            command = await uploaded(log, blobs, jpeg("one", (400, 300)))
            types = await types_when_ended(log, command.photo_id)

            worker.stop()
        await log.redis.aclose()
        await administrator.aclose()

    assert types[-1] == "photo.processing.completed"
    assert not background.failing
