"""All read models of a generation, and what they are together."""

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
    """What a file of this package offers.

    ``apply`` folds events of one partition, in order, into the rows of ``TABLES``, which ``SCHEMA``
    makes. It uses no clock and no randomness, and an event that it does not know changes nothing.

    ``OF_PARTITION`` has a condition for each table whose rows each come from the events of a single
    partition: it selects those of ``:partition``, by the tables of ids that ``refold`` makes.
    """

    @property
    def TABLES(self) -> tuple[str, ...]: ...  # noqa: N802 # a constant of a module

    @property
    def SCHEMA(self) -> str: ...  # noqa: N802

    @property
    def OF_PARTITION(self) -> Mapping[str, str]: ...  # noqa: N802

    def apply(self, db: Connection, recorded: Sequence[Recorded]) -> None: ...


READ_MODELS: tuple[ReadModel, ...] = (
    *(photos, thumbnails, jobs, sessions, dead_letters, clients, history),
)
"""In the order of application: thumbnails refer to photos."""

SCHEMA = "\n".join([checkpoints.SCHEMA, *(model.SCHEMA for model in READ_MODELS)])

TABLES = tuple(table for model in READ_MODELS for table in model.TABLES)

REVISION = 1
"""Raised when an ``apply`` changes its meaning while the tables stay the same."""

FORM = zlib.crc32(f"{REVISION}{SCHEMA}".encode()) & 0x7FFF_FFFF
"""SQLite's ``user_version`` of a generation that this code can go on with."""
