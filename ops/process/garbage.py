"""Collect cyclic garbage less often, in a process that keeps many objects for long.

A full collection visits every object that the process keeps, and stops everything else: for a
gateway with 1,000 open streams it takes 0.3 s. By default, a few thousand objects that are in use
for a moment lead to one, for example when an event goes to all streams. At 50,000 deliveries per
second, that was one collection per second and a quarter of the CPU time.
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager

YOUNG = 50_000
"""How many new objects lead to a collection of the young ones, which takes a few ms."""


def collect_less() -> None:
    """Exempt existing objects from collections, and make collections rare; call it once, at start.

    Only garbage in cycles waits for a collection, at most ``YOUNG`` objects at a time. Other
    objects are freed immediately, as always.
    """
    gc.collect()
    gc.freeze()
    _, *older = gc.get_threshold()
    gc.set_threshold(YOUNG, *older)


@contextmanager
def no_collections() -> Generator[None]:
    """Collect nothing while the block imports modules.

    What they define stays, so collections would visit it again and again and free nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
