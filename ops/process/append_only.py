"""The append-only files of the bundled server, looked at before it starts.

| path in the folder of the server | what |
|---|---|
| ``appendonlydir/appendonly.aof.manifest`` | names the other two; replaced in one step |
| ``appendonlydir/appendonly.aof.N.base.rdb`` | the log as it was when the server last rewrote it |
| ``appendonlydir/appendonly.aof.N.incr.aof`` | what came after, synced before it is answered |

A power cut can only harm the end of the last ``incr`` file: the record that was being written, and
that nobody was told of. The server cuts a record that is not whole, but takes neither zeros, which
some file systems leave there, nor a manifest that is gone: it would begin an empty log.
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
"""A base file of no keys is smaller: the server writes one before its first manifest."""

_CHUNK_BYTES = 1 << 16


def check(folder: Path) -> None:
    """Cut zeros off the end of the log, and make sure that all of its files are there.

    Raises:
        UserError: the server would not start, or would start without the log; says what to do.
        OSError: the files cannot be looked at.
    """
    files = folder / FILES
    if not files.is_dir():
        return
    try:
        content = (files / MANIFEST).read_bytes()
    except FileNotFoundError:
        _refuse_without_manifest(files)
        return
    named = _named(files, content)
    for name, _ in named:
        if not (files / name).is_file():
            raise UserError(
                f"the log's file {files / name} is missing: restore {files} from a backup"
            )
    increments = [name for name, kind in named if kind == "i"]
    if increments:
        _cut_zeros(files / increments[-1])


def _refuse_without_manifest(files: Path) -> None:
    """A first start that was broken off leaves files without a word of the log, and no manifest."""
    for path in sorted(files.glob("appendonly.aof.*")):
        limit = EMPTY_BASE_BYTES if path.name == _FIRST_BASE else 0
        if path.stat().st_size > limit:
            raise UserError(f"the log's manifest {files / MANIFEST} is missing. {_advice(files)}")


def _named(files: Path, content: bytes) -> list[tuple[str, str]]:
    """The files of the manifest that make up the log, and the type of each, in order."""
    found: list[tuple[str, str]] = []
    for line in content.decode("utf-8", "replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise UserError(f"the log's manifest {files / MANIFEST} is damaged. {_advice(files)}")
        if match[3] != "h":  # history: replaced by a rewrite, and about to be removed
            found.append((match[1], match[3]))
    if not found:
        raise UserError(f"the log's manifest {files / MANIFEST} is empty. {_advice(files)}")
    return found


def _advice(files: Path) -> str:
    return (
        f"Copy {files} elsewhere first. Then restore the manifest from a backup, or write it "
        "again: one line `file NAME seq N type T` for the newest base file (T is b), then one for "
        "each incr file of the same or a higher number in ascending order (T is i); N is the "
        "number in the name. Check with `photolog verify`"
    )


def _cut_zeros(path: Path) -> None:
    """A record ends with CR LF, so zeros at the end of the file were never a whole one."""
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
        "%s ended with %d zeros, as after a power cut, and was cut: they were no part of the log",
        *(path, size - end),
    )
