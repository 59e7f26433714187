"""Why a stage failed, in the six categories that decide what happens next."""

from enum import StrEnum


class Category(StrEnum):
    """The kind of a failure. Its value is what events, metrics and HTTP say."""

    TEMPORARY = "temporary"  # the network or a dependency; trying again can help
    RESOURCE = "resource"  # memory, disk, time
    DATA = "data"  # the bytes are no picture we can read, or not those that were uploaded
    LOGIC = "logic"  # a bug of ours
    SECURITY = "security"  # hostile input
    CONFIGURATION = "configuration"  # the operator has to change something
