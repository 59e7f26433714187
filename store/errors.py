"""The errors of the store.

StoreError
├── Missing       there is nothing with that name
├── Exists        the name is taken already; nothing was overwritten
├── Unavailable   the server or disk did not answer; the same call may succeed later
│   ├── CircuitOpen   the call was not sent: earlier ones failed too often
│   ├── Denied        it rejects the credentials or forbids the call; a setting is wrong
│   ├── GroupGone     a consumer group was deleted, or never created
│   ├── IsReplica     the server takes no events: it is not, or no longer, the master
│   ├── ArchiveAway   the blob store did not answer what the archive needs of it
│   ├── Replaced      Redis has another log than the one this process has joined, or none
│   ├── WrongType     a key holds a value of another type; the message names it
│   └── Unexpected    the server's answer is not one that the command has
├── NotCovered    this read model has other partitions; the message names the missing ones
├── UnsuitableServer  the server must not hold the log as it is configured
├── Lost          the task is no longer this worker's; its result does not count
├── Full          there is no room to write
│   └── LogFull       Redis rejects writes because memory or disk is full
└── Corrupt       stored data differs from what was written
    └── BadSegment   the archive lacks events, or has them damaged; the message names the segment
"""


class StoreError(Exception):
    """The root of all errors of this package.

    ``retry_after_s`` is how long a retry is certain to fail; 0 if that is not known.
    """

    retry_after_s: float = 0.0


class Missing(StoreError):
    """There is nothing with that name."""


class NotCovered(StoreError):
    """The read model does not cover the partition, so it cannot say what is not there."""


class Exists(StoreError):
    """The name is taken already; nothing was overwritten."""


class Unavailable(StoreError):
    """The server or disk did not answer. After an append: it may or may not have happened."""


class CircuitOpen(Unavailable):
    """A circuit breaker rejected the call: nothing was sent, nothing has changed."""

    def __init__(self, dependency: str, retry_after_s: float) -> None:
        super().__init__(f"{dependency} has failed too often; calls are paused for now")
        self.retry_after_s = retry_after_s


class GroupGone(Unavailable):
    """The consumer group, or its stream, does not exist; its users create it again."""


class Denied(Unavailable):
    """The server rejects user, password, key or certificate, or forbids them the call.

    ``setting`` is the last part of the wrong setting's name; "" if it is not known.
    """

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class IsReplica(Unavailable):
    """The server is a replica: briefly after a failover, or because a setting names a replica."""


class ArchiveAway(Unavailable):
    """The blob store did not answer, or forbade, what the archive needs of it.

    ``where`` names the segment, or the folder of segments; "" if it is not known.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


class Replaced(Unavailable):
    """Redis has another log than the one this process has joined, which waits for its own."""


class WrongType(Unavailable):
    """A key holds a value of another type; the message names it and says what happens to it."""


class Unexpected(Unavailable):
    """The server answered with an unknown error or a reply of the wrong type; it is logged."""


class UnsuitableServer(StoreError):
    """The server answers but must not hold the log; the message says what to change."""


class Lost(StoreError):
    """The task is done or was taken over by another worker; this result was dropped."""


class Full(StoreError):
    """The disk or the server's memory is full."""


class LogFull(Full):
    """Redis rejects writes because memory or disk is full."""


class Corrupt(StoreError):
    """Stored data differs from what was written."""


class BadSegment(Corrupt):
    """A segment of the archive is damaged, missing or foreign; the message names it.

    ``key`` is its key, or that of the one after it; "" if all segments from somewhere on are gone.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key
