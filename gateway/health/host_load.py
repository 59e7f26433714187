"""How busy this machine is."""

import os
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")


def load_per_processor() -> float:
    """Tasks that ran or wanted to, over the last minute; 1 keeps all processors busy."""
    return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)


def memory_used_percent() -> float | None:
    """What programs could not get any more; None where the system does not tell."""
    try:
        lines = _MEMINFO.read_text("ascii").splitlines()
    except FileNotFoundError:  # not Linux
        return None
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return round(100 * (1 - kib["MemAvailable"] / kib["MemTotal"]), 1)
