"""A disk small enough to fill."""

import errno
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import unavailable


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Generator[Path]:
    """Mount a disk on ``folder``; if mounting is not permitted, see ``unavailable``."""
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
    """Fill the disk, and return the file to delete to free some space."""
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
    """Remount the disk with other options: ``size=8m``, ``ro``, ``rw``."""
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


@contextmanager
def read_only(disk: Path) -> Generator[None]:
    """Make the disk read-only; files that are open for writing stay writable."""
    subprocess.run(["mount", "--bind", disk, disk], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
