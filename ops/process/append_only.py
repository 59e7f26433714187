"""Check and repair the append-only files of the bundled server before it starts.

| path in the folder of the server | content |
|---|---|
| ``appendonlydir/appendonly.aof.manifest`` | the names of the other two; replaced atomically |
| ``appendonlydir/appendonly.aof.N.base.rdb`` | the log as of the server's last rewrite |
| ``appendonlydir/appendonly.aof.N.incr.aof`` | later writes, each synced before its answer |

A power cut can only damage the end of the last ``incr`` file: the record that was being written,
whose write was never confirmed. The server truncates an incomplete record, but does not start on
zeros, which some file systems leave there, and without its manifest would begin an empty log.
"""

import logging
import os
import re
from pathlib import Path

from ops.errors import UserError

logger = logging.getLogger("photolog")

FILES = "appendonlydir"
MANIFEST = "appendonly.aof.manifest"

_LINE = re.compile(r"file (\S+) seq (\d+) type ([bih])(?: .*)?", re.ASCII)
_FIRST_BASE = "appendonly.aof.1.base.rdb"

EMPTY_BASE_BYTES = 512
"""A base file without keys is smaller: the server writes one before its first manifest."""

_CHUNK_BYTES = 1 << 16


def check(folder: Path) -> None:
    """Remove zeros from the end of the log, and make sure that none of its files is missing.

    Raises:
        UserError: the server would not start, or would start without the log; the message says
            what to do.
        OSError: the files cannot be read or written.
    """
    files = folder / FILES
    if not files.is_dir():
        return
    try:
        content = (files / MANIFEST).read_bytes()
    except FileNotFoundError:
        _refuse_without_manifest(files)
        return
    named = _files_in(files, content)
    for name, _ in named:
        if not (files / name).is_file():
            raise UserError(
                f"the log's file {files / name} is missing: restore {files} from a backup"
            )
    increments = [name for name, kind in named if kind == "i"]
    if increments:
        _cut_zeros(files / increments[-1])


def _refuse_without_manifest(files: Path) -> None:
    """Raise UserError if the files hold events: an interrupted first start leaves empty ones."""
    for path in sorted(files.glob("appendonly.aof.*")):
        limit = EMPTY_BASE_BYTES if path.name == _FIRST_BASE else 0
        if path.stat().st_size > limit:
            raise UserError(f"the log's manifest {files / MANIFEST} is missing. {_advice(files)}")


def _files_in(files: Path, content: bytes) -> list[tuple[str, str]]:
    """Return the files of the manifest that make up the log, and the type of each, in order."""
    found: list[tuple[str, str]] = []
    for line in content.decode("utf-8", "replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise UserError(f"the log's manifest {files / MANIFEST} is damaged. {_advice(files)}")
        if match[3] != "h":  # history: replaced by a rewrite, and soon removed
            found.append((match[1], match[3]))
    if not found:
        raise UserError(f"the log's manifest {files / MANIFEST} is empty. {_advice(files)}")
    return found


def _advice(files: Path) -> str:
    return (
        f"Copy {files} elsewhere first. Then restore the manifest from a backup, or write it "
        "yourself: one line `file NAME seq N type T` for the newest base file (T is b), then one "
        "for each incr file of the same or a higher number, in ascending order (T is i); N is the "
        "number in the name. Check the result with `photolog verify`"
    )


def _cut_zeros(path: Path) -> None:
    """Remove zeros from the end of the file: a record ends with CR LF, so they are no record."""
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _CHUNK_BYTES)
            file.seek(start)
            kept = len(file.read(end - start).rstrip(b"\0"))
            end = start + kept
            if kept:
                break
        if end == size:
            return
        file.truncate(end)
        os.fsync(file.fileno())
    logger.warning(
        "removed %d zeros from the end of %s, as a power cut leaves: they hold no part of the log",
        *(size - end, path),
    )
