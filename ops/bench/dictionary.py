"""Make ``store/sqlite/events.zdict`` from the events of real photos.

``python -m ops.bench.dictionary FOLDER`` uploads the photos of the folder to a Photolog of its own
and trains a dictionary with clones of their events, whose ids and digests differ, so that it learns
what events have in common. A dictionary that is in use never changes: replacing it changes
``store.sqlite.packing.FORM``, and each projector then folds a new generation.
"""

import sys
from pathlib import Path
from typing import Any

import zstandard

from ops.bench.recorded import Clones, recorded_photos
from store.sqlite import packing

SIZE = 16_384
CLONES = 40
"""Clones of each photo."""

PHOTOS = 32


def main() -> None:
    models = recorded_photos(Path(sys.argv[1]), PHOTOS)
    clones = [clone for model in models for clone in Clones(model).photos(CLONES)]
    bodies = [body for clone in clones for body in clone.chained.bodies]
    samples: list[Any] = [*bodies]  # its type asks for an alias that Python has dropped
    trained = zstandard.train_dictionary(SIZE, samples, level=packing.LEVEL)
    Path(packing.__file__).with_name("events.zdict").write_bytes(trained.as_bytes())
    print(f"{len(models)} photos, {len(bodies):,} events, {len(trained):,} bytes")


if __name__ == "__main__":
    main()
