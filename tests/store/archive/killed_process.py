"""An archiver, import or recovery that kills its process at a given call.

Run by ``test_kills.py`` with ``URL PREFIX FOLDER CALLS [FILE]``: an export to import, or the read
model to recover from, whose name ends in ``.sqlite``. With 0 calls it ends by itself, and prints
how many calls it made.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import anyio

from ops.maintenance.export_check import check
from ops.maintenance.export_file import Export
from ops.maintenance.log_import import import_
from ops.maintenance.log_recover import Recovery
from ops.maintenance.log_recover_findings import Findings
from ops.maintenance.settling import settle
from store.archive.archive import Archive
from store.archive.archiver import Archiver
from store.archive.settings import SealingSettings, TrimmingSettings
from store.blobs.folder import FolderBlobs
from store.keys import Keys
from store.log.log import Log
from store.redis.connection import Client, connect

COUNTED = (
    "/store/archive/",
    "/store/blobs/",
    "/store/redis/",
    "/store/log/stream.py",
    "/store/log/eviction.py",
    "/store/log/recovering.py",
    "/store/log/control.py",
    "/store/queue/losses.py",
    "/ops/maintenance/log_",
)

made = 0


def count(frame: FrameType, event: str, _: Any) -> None:
    global made  # noqa: PLW0603
    if event in ("call", "return") and any(part in frame.f_code.co_filename for part in COUNTED):
        made += 1
        if made == last:
            os.kill(os.getpid(), signal.SIGKILL)


async def archive(log: Log, blobs: FolderBlobs) -> None:
    await settle(log, blobs)
    await log.redis.delete(log.keys.archiving(0))  # the lease of the one that was killed
    reader = log.archive = Archive(blobs, log.log_id, group=3)
    archiver = Archiver(
        *(log, blobs, reader),
        sealing=SealingSettings(archive_segment_entries=4),
        trimming=TrimmingSettings(archive_keep_s=0.0, archive_keep_states_s=0.0),
    )
    await archiver.archive(0, now=True)


async def recover(redis: Client, prefix: str, blobs: FolderBlobs, read_model: Path) -> None:
    def ask(_: Findings) -> None:
        pass

    await Recovery(redis, Keys(prefix), blobs, [read_model]).run(None, ask)


async def main(url: str, prefix: str, folder: Path, file: Path | None) -> None:
    redis = connect(url)
    blobs = FolderBlobs(folder, "archiver")
    recovers = file is not None and file.suffix == ".sqlite"
    log = None if recovers else await Log.find(redis, prefix=prefix)
    source = Export(file) if file is not None and not recovers else None
    threading.setprofile(count)
    sys.setprofile(count)
    if source is not None and log is not None:
        await import_(log, blobs, source, await check(source, accept_damage=True))
        source.close()
    elif file is not None:
        await recover(redis, prefix, blobs, file)
    else:
        assert log is not None
        await archive(log, blobs)
    sys.setprofile(None)
    await redis.aclose()


if __name__ == "__main__":
    last = int(sys.argv[4])
    path = Path(sys.argv[5]) if len(sys.argv) > 5 else None
    anyio.run(main, sys.argv[1], sys.argv[2], Path(sys.argv[3]), path)
    print(made)
