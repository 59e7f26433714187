"""A disk that is small enough to be filled."""

import errno
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import unavailable


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Generator[Path]:
    """``folder`` is a disk of its own; see ``unavailable`` for where we may not mount one."""
    folder.mkdir(parents=True)
    options = f"size={size_bytes},mode=0700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        unavailable(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on it; the file to delete for some."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return ballast


def remount(disk: Path, options: str) -> None:
    """Change a disk that is there: ``size=8m``, ``ro``, ``rw``."""
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


@contextmanager
def read_only(disk: Path) -> Generator[None]:
    """Nothing can be changed there any more; files that are open for writing stay so."""
    subprocess.run(["mount", "--bind", disk, disk], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
