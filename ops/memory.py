"""How much memory is free for decoders: of the machine, or of the cgroup that bounds this process.

Sources: the kernel's ``admin-guide/cgroup-v2.rst`` and ``cgroup-v1/memory.rst``, proc_meminfo(5).
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

PERCENT = 75
"""Of what is free at the start: the rest is for the worker itself, and for what others need later.
Valkey's log grows, and the page cache makes reading photos fast."""

LEAST_BYTES = 256 << 20
"""One decoder for ordinary photos; with less it does not work."""

_UNKNOWN_BYTES = 4 << 30
"""Where the system does not tell."""

_ROOT = Path("/")


def share(workers: int, root: Path = _ROOT) -> int:
    """Bytes for each of several workers that start on this machine now."""
    free = free_bytes(root)
    total = _UNKNOWN_BYTES if free is None else free
    return max(LEAST_BYTES, total * PERCENT // 100 // workers)


def free_bytes(root: Path = _ROOT) -> int | None:
    """What this process and its children could still get; None where the system does not tell."""
    found = [*_of_machine(root), *_of_cgroups(root)]
    return max(0, min(found)) if found else None


def _of_machine(root: Path) -> Iterator[int]:
    try:
        text = (root / "proc/meminfo").read_text("ascii")
    except OSError:
        if root == _ROOT and "SC_PHYS_PAGES" in os.sysconf_names:
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        return
    if found := re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE):
        yield int(found[1]) * 1024


def _of_cgroups(root: Path) -> Iterator[int]:
    """What is left below each limit on the way up from this process's cgroup."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for base in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                yield from _on_the_way(root / base, path, _left_of_v2)
        elif "memory" in controllers.split(","):
            yield from _on_the_way(root / "sys/fs/cgroup/memory", path, _left_of_v1)


def _left_of_v2(cgroup: Path) -> Iterator[int]:
    used = _number(cgroup / "memory.current") - _reclaimable(cgroup, "inactive_file")
    for name in ("memory.max", "memory.high"):
        if limit := _number(cgroup / name):
            yield limit - used


def _left_of_v1(cgroup: Path) -> Iterator[int]:
    used = _number(cgroup / "memory.usage_in_bytes")
    if limit := _number(cgroup / "memory.limit_in_bytes"):
        yield limit - used + _reclaimable(cgroup, "total_inactive_file")


def _number(file: Path) -> int:
    """What the file says; 0 if there is none, or if it says ``max``: no limit."""
    try:
        text = file.read_text("ascii").strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0


def _reclaimable(cgroup: Path, name: str) -> int:
    """Cached files that nobody has used of late: they make room when asked."""
    try:
        lines = (cgroup / "memory.stat").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(value) for key, value in map(str.split, lines) if key == name), 0)


def _on_the_way(base: Path, path: str, left: Callable[[Path], Iterator[int]]) -> Iterator[int]:
    # In a container the path may be that of the host, and its own cgroup be the base itself.
    below = PurePosixPath(path.lstrip("/"))
    for each in dict.fromkeys([below, *below.parents, PurePosixPath()]):
        if ".." not in each.parts:
            yield from left(base / each)
