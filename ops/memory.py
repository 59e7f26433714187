"""How much memory this machine has, or the container that we run in."""

import os
from pathlib import Path

LOG_PART = 0.4
"""Of all memory, for the log's server: while it rewrites its file, it may need twice as much."""

LEAST_BYTES = 64 << 20

_CGROUP = Path("/proc/self/cgroup")
_HIERARCHY = Path("/sys/fs/cgroup")


def machine_bytes() -> int:
    """What programs here may use together."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *_bounds()])


def log_bytes(setting: int) -> int:
    """What the bundled server may use; ``setting`` is that of an operator, 0 where there is none"""
    return setting or max(LEAST_BYTES, int(LOG_PART * machine_bytes()))


def _bounds() -> list[int]:
    """Those of our control groups, of both versions."""
    try:
        lines = _CGROUP.read_text("utf-8").splitlines()
    except OSError:  # not Linux
        return []
    files: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files += _upwards(_HIERARCHY, path, "memory.max")
        elif "memory" in controllers.split(","):
            files += _upwards(_HIERARCHY / "memory", path, "memory.limit_in_bytes")
    return [bound for file in files if (bound := _bound(file)) is not None]


def _upwards(root: Path, path: str, name: str) -> list[Path]:
    """A group is bound by all those it is in; in a container ours may look like the root."""
    parts = Path(path.lstrip("/")).parts
    return [root.joinpath(*parts[:count], name) for count in range(len(parts) + 1)]


def _bound(file: Path) -> int | None:
    try:
        text = file.read_text("ascii").strip()
        return int(text) if text != "max" else None
    except (OSError, ValueError):
        return None
