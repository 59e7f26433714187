"""Categories of failure, which decide what happens after a stage has failed."""

from enum import StrEnum

BLOB_MISSING, BLOB_DAMAGED = "blob-missing", "blob-damaged"
"""Codes of failures: the file that the stage needs is missing, or differs from what was stored."""


class Category(StrEnum):
    """The kind of a failure. Events, metrics and HTTP show its value."""

    TEMPORARY = "temporary"  # the network or a dependency; a retry can help
    RESOURCE = "resource"  # memory, disk, time
    DATA = "data"  # the bytes are not a readable picture, or not those that were uploaded
    LOGIC = "logic"  # a bug in Photolog
    SECURITY = "security"  # hostile input
    CONFIGURATION = "configuration"  # the operator has to change something


LASTING = (Category.DATA, Category.SECURITY)
"""Categories that lie in the bytes of the photo: another attempt finds the same bytes."""
