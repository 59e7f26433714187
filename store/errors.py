"""What can go wrong with what we keep.

StoreError
├── Missing       there is nothing under that name
├── Exists        there is something under that name already, and it stays
├── Unavailable   the server or disk did not answer; the same call may succeed later
│   ├── CircuitOpen   it was not even asked: it has failed too often
│   ├── Denied        it does not let us in, or forbids what we ask; a setting is wrong
│   ├── GroupGone     a consumer group was deleted, or never made
│   ├── IsReplica     the server takes no events: it is not, or no longer, the master
│   ├── Replaced      Redis has another log than the one we have joined, or none
│   ├── WrongType       a key holds a value of another type; the message names it
│   └── Unexpected    the server's answer is none that the command has
├── UnsuitableServer         the server must not hold the log as it is set up
├── Lost          the task is no longer this worker's; its result does not count
├── Full          no room is left where it should be written
│   └── LogFull       by Redis, for want of memory or disk
└── Corrupt       what is stored is not what was written
"""


class StoreError(Exception):
    """The root of all errors of this package.

    ``retry_after_s``: trying again before is in vain; 0 where that is not known.
    """

    retry_after_s: float = 0.0


class Missing(StoreError):
    """There is nothing under that name."""


class Exists(StoreError):
    """There is something under that name already, and it stays."""


class Unavailable(StoreError):
    """The server or disk did not answer. After an append: it may or may not have happened."""


class CircuitOpen(Unavailable):
    """A circuit breaker refused the call: nothing was sent, nothing has changed."""

    def __init__(self, dependency: str, retry_after_s: float) -> None:
        super().__init__(f"{dependency} has failed too often and is left alone for now")
        self.retry_after_s = retry_after_s


class GroupGone(Unavailable):
    """There is no such consumer group, or not even its stream: who needs it makes it anew."""


class Denied(Unavailable):
    """User, password, key or certificate are not accepted, or what we ask is forbidden to them.

    ``setting`` is that which is wrong, the last part of its name; "" where that is not known.
    """

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class IsReplica(Unavailable):
    """The server is a replica: after a failover for a moment, or because a setting names it."""


class Replaced(Unavailable):
    """The log is not the one that this process has joined: it waits for that one to come back."""


class WrongType(Unavailable):
    """A key holds a value of another type; the message names it and says what becomes of it."""


class Unexpected(Unavailable):
    """The server answered with an error that nothing explains, or another kind of reply; logged."""


class UnsuitableServer(StoreError):
    """The server is there and must not hold the log; the message says what to change."""


class Lost(StoreError):
    """The task was taken over by another worker or is done; this result was dropped."""


class Full(StoreError):
    """No room is left on the disk or in the server's memory."""


class LogFull(Full):
    """Redis refuses to write, for want of memory or disk."""


class Corrupt(StoreError):
    """What is stored is not what was written."""
