"""All read models of a generation: their tables, their schema and its version."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from projections.models import (
    checkpoints,
    clients,
    dead_letters,
    history,
    jobs,
    photos,
    sessions,
    thumbnails,
)
from store.log.stream import Recorded
from store.sqlite.connection import Connection


class ReadModel(Protocol):
    """The contract of a module in ``projections.models``.

    ``apply`` folds events of one partition, in order, into the rows of ``TABLES``, which ``SCHEMA``
    creates. It uses no clock and no randomness, and it skips events that it does not know.

    ``OF_PARTITION`` has a condition for each table whose rows each derive from a single partition.
    It selects the rows of ``:partition``, using the tables of ids that ``refold`` creates.
    """

    @property
    def TABLES(self) -> tuple[str, ...]: ...  # noqa: N802 # a module constant

    @property
    def SCHEMA(self) -> str: ...  # noqa: N802

    @property
    def OF_PARTITION(self) -> Mapping[str, str]: ...  # noqa: N802

    def apply(self, db: Connection, recorded: Sequence[Recorded]) -> None: ...


READ_MODELS: tuple[ReadModel, ...] = (
    *(photos, thumbnails, jobs, sessions, dead_letters, clients, history),
)
"""The read models in the order in which they apply events: thumbnails refer to photos."""

SCHEMA = "\n".join([checkpoints.SCHEMA, *(model.SCHEMA for model in READ_MODELS)])

TABLES = tuple(table for model in READ_MODELS for table in model.TABLES)

REVISION = 2
"""Increase this when an ``apply`` changes its meaning while the tables stay the same."""

FORM = zlib.crc32(f"{REVISION}{SCHEMA}".encode()) & 0x7FFF_FFFF
"""The SQLite ``user_version`` of a generation that this code can continue."""
