"""Print figures: medians, ranges, and the command that reproduces them."""

import platform
import shlex
import statistics
import sys
import time
from collections.abc import Generator, Sequence


def headline(title: str) -> None:
    print(f"\n{title}\n{'─' * len(title)}", flush=True)


def line(name: str, samples: Sequence[float], unit: str, *, digits: int = 1) -> None:
    """Print a row with the median and the range of ``samples``."""
    middle = statistics.median(samples)
    spread = f"{min(samples):,.{digits}f} … {max(samples):,.{digits}f}"
    print(f"  {name:<44}{middle:>12,.{digits}f} {unit:<10} ({spread})", flush=True)


def ratio(name: str, ours: Sequence[float], limit: Sequence[float]) -> None:
    """Print the median of the ratios of paired runs."""
    pairs = [own / raw for own, raw in zip(ours, limit, strict=True)]
    print(f"  {name:<44}{statistics.median(pairs):>12.2f}", flush=True)


def note(text: str) -> None:
    print(f"  {text}", flush=True)


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(samples)
    rank = max(0, -(-percent * len(ordered) // 100) - 1)
    return ordered[rank]


def preamble(cores: int) -> None:
    """Print the command, and the machine that it runs on."""
    print(f"photolog {shlex.join(sys.argv[1:])}")
    machine = f"{platform.system()} {platform.machine()}"
    print(f"{machine}, {cores} cores, Python {platform.python_version()}")


def rounds(count: int) -> Generator[int]:
    """Yield the number of each round, and print to standard error how long the rest will take."""
    began = time.monotonic()
    for number in range(count):
        yield number
        left_s = (time.monotonic() - began) / (number + 1) * (count - number - 1)
        print(f"  round {number + 1} of {count} done, about {left_s:.0f} s left", file=sys.stderr)
