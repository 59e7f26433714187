"""Measure the memory of the machine, or of the cgroup that limits this process.

Sources: the kernel's ``admin-guide/cgroup-v2.rst`` and ``cgroup-v1/memory.rst``, proc_meminfo(5).
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

LOG_PERCENT = 40
"""Part of all memory for the embedded Valkey, which may need twice that to rewrite its file."""

LEAST_LOG_BYTES = 64 << 20

PERCENT = 75
"""Part of the memory that is free at the start for decoders. The rest is for the worker itself and
for later needs of others: Valkey's log grows, and the page cache makes reading photos fast."""

LEAST_BYTES = 256 << 20
"""The memory that one decoder needs for ordinary photos; with less it does not work."""

_UNKNOWN_BYTES = 4 << 30
"""Assumed if the system reports no amount."""

_ROOT = Path("/")


def log_bytes(setting: int, root: Path = _ROOT) -> int:
    """Return the bytes for the embedded Valkey: ``setting``, or a part of all memory if it is 0."""
    whole = min([*_whole_machine(root), *_of_cgroups(root, _limits)], default=_UNKNOWN_BYTES)
    return setting or max(LEAST_LOG_BYTES, whole * LOG_PERCENT // 100)


def share(workers: int, root: Path = _ROOT) -> int:
    """Return the bytes for each of ``workers`` that start on this machine now."""
    free = free_bytes(root)
    total = _UNKNOWN_BYTES if free is None else free
    return max(LEAST_BYTES, total * PERCENT // 100 // workers)


def free_bytes(root: Path = _ROOT) -> int | None:
    """Return what this process and its children can still allocate; None if that is unknown."""
    found = [*_of_machine(root), *_of_cgroups(root, _left)]
    return max(0, min(found)) if found else None


def _of_machine(root: Path) -> Iterator[int]:
    available = _meminfo(root, "MemAvailable")
    if available is not None:
        yield available
    elif root == _ROOT and "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _whole_machine(root: Path) -> Iterator[int]:
    total = _meminfo(root, "MemTotal")
    if total is not None:
        yield total
    elif root == _ROOT and "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _meminfo(root: Path, name: str) -> int | None:
    try:
        text = (root / "proc/meminfo").read_text("ascii")
    except OSError:
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _of_cgroups(root: Path, ask: "Callable[[Path, _Files], Iterator[int]]") -> Iterator[int]:
    """Yield what ``ask`` finds in this process's cgroup and in each of its ancestors."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for base in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                for cgroup in _with_ancestors(root / base, path):
                    yield from ask(cgroup, _V2)
        elif "memory" in controllers.split(","):
            for cgroup in _with_ancestors(root / "sys/fs/cgroup/memory", path):
                yield from ask(cgroup, _V1)


class _Files(NamedTuple):
    """The names of a cgroup's files; ``cached`` is a line of its memory.stat."""

    limits: tuple[str, ...]
    used: str
    cached: str


_V2 = _Files(("memory.max", "memory.high"), "memory.current", "inactive_file")
_V1 = _Files(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")


def _limits(cgroup: Path, files: _Files) -> Iterator[int]:
    yield from filter(None, (_number(cgroup / name) for name in files.limits))


def _left(cgroup: Path, files: _Files) -> Iterator[int]:
    used = _number(cgroup / files.used) - _reclaimable(cgroup, files.cached)
    for limit in _limits(cgroup, files):
        yield limit - used


def _number(file: Path) -> int:
    """Return the number in the file; 0 if it does not exist or contains ``max`` (no limit)."""
    try:
        text = file.read_text("ascii").strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0


def _reclaimable(cgroup: Path, name: str) -> int:
    """Return the bytes of cached files unused recently, which the kernel frees on demand."""
    try:
        lines = (cgroup / "memory.stat").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(value) for key, value in map(str.split, lines) if key == name), 0)


def _with_ancestors(base: Path, path: str) -> Iterator[Path]:
    # In a container the path may be the host's, while the container's cgroup is the base itself.
    below = PurePosixPath(path.lstrip("/"))
    for each in dict.fromkeys([below, *below.parents, PurePosixPath()]):
        if ".." not in each.parts:
            yield base / each
