"""What can go wrong with what we keep.

StoreError
├── Missing       there is nothing under that name
├── Unavailable   the server or disk did not answer; the same call may succeed later
├── Lost          the task is no longer this worker's; its result does not count
├── Full          no room is left where it should be written
└── Corrupt       what is stored is not what was written
"""


class StoreError(Exception):
    """The root of all errors of this package."""


class Missing(StoreError):
    """There is nothing under that name."""


class Unavailable(StoreError):
    """The server or disk did not answer. After an append: it may or may not have happened."""


class Lost(StoreError):
    """The task was taken over by another worker or is done; this result was dropped."""


class Full(StoreError):
    """No room is left on the disk or in the server's memory."""


class Corrupt(StoreError):
    """What is stored is not what was written."""
