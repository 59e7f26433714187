"""All read models of a generation: their tables, their schema and its version."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from projections.models import (
    audit,
    checkpoints,
    clients,
    dead_letters,
    history,
    history_pages,
    jobs,
    photos,
    sessions,
    timeline,
)
from store.log.recorded import Recorded
from store.sqlite import packing
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
    *(photos, timeline, jobs, sessions, dead_letters, clients, audit, history),
)
"""The read models in the order in which they apply events."""

OF_ONE_PHOTO: tuple[ReadModel, ...] = (photos, jobs)
"""The read models that ``projections.new_photos`` folds apart: each row is of one photo."""

SCHEMA = "\n".join([checkpoints.SCHEMA, *(model.SCHEMA for model in READ_MODELS)])

INDEXES = "\n".join((photos.INDEXES, jobs.INDEXES))
"""The indexes that queries need and ``apply`` does not: a fold of the whole log makes them last."""

TABLES = tuple(table for model in READ_MODELS for table in model.TABLES)

REVISION = 6
"""Increase this when rows mean something else and their columns do not show it.

They do if an ``apply`` changes, the JSON in a column, or the expression of a generated column.
"""


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode()) & 0x7FFF_FFFF


FORM = _checksum(f"{REVISION}{SCHEMA}{INDEXES}{packing.FORM}")
"""The SQLite ``user_version`` of a generation that this code can continue."""

MEANING = _checksum(f"{REVISION} {history_pages.PAGE} {packing.FORM}")
"""The SQLite ``application_id`` of generations whose columns mean the same as in this code, if they
have them; see ``projections.other_versions``."""
