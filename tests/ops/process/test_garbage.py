"""A process that collects garbage less often still frees all of it."""

import gc
import subprocess
import sys

import pytest

from ops.process import garbage

PROGRAM = """
import gc, weakref
from ops.process import garbage

class Cyclic:
    def __init__(self):
        self.itself = self

kept = [Cyclic() for _ in range(1_000)]
garbage.collect_less()
examined = len(gc.get_objects())
alive = weakref.WeakSet()
most = 0
for _ in range(3 * garbage.YOUNG):
    alive.add(Cyclic())
    most = max(most, len(alive))
full = gc.get_stats()[2]["collections"]
bursts = gc.get_stats()[0]["collections"]
for _ in range(100):
    [[] for _ in range(garbage.YOUNG // 10)]
print(examined < 100, len(kept), 0 < most <= garbage.YOUNG,
    gc.get_stats()[0]["collections"] == bursts, gc.get_stats()[2]["collections"] == full)
"""


def test_old_objects_and_short_lived_ones_cost_no_collections_and_cycles_are_freed() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    ).stdout

    assert printed.split() == ["True", "1000", "True", "True", "True"]


def test_collections_go_on_after_imports_that_fail() -> None:
    with pytest.raises(ImportError), garbage.no_collections():
        import_during_start()

    assert gc.isenabled()


def import_during_start() -> None:
    assert not gc.isenabled()
    raise ImportError
