"""The load and memory of this machine."""

import os
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")


def load_per_processor() -> float:
    """Return the load average of the last minute per processor; 1 keeps all processors busy."""
    return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)


def memory_used_percent() -> float | None:
    """Return the share of memory that is not available; None if the system does not report it."""
    try:
        lines = _MEMINFO.read_text("ascii").splitlines()
    except FileNotFoundError:  # not Linux
        return None
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return round(100 * (1 - kib["MemAvailable"] / kib["MemTotal"]), 1)
