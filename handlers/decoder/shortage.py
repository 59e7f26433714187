"""Recognize what the machine lacks, and why a decoder process does not start.

None of it is a photo's fault, so none of it uses an attempt.
"""

import errno
import signal
from typing import cast

from domain.pipeline.failures import Category
from handlers.stage import StageFailure
from store.queue.decoder_outages import Reason

UNAVAILABLE = "decoders-unavailable"
"""The code of a failure that no attempt counts: the worker gives the task back."""

_BY_ERRNO: dict[int | None, Reason] = {
    errno.ENOMEM: "no-memory",
    errno.EAGAIN: "no-processes",  # fork(2): a limit on processes and threads
    errno.EMFILE: "no-descriptors",
    errno.ENFILE: "no-descriptors",
    errno.ENOBUFS: "no-memory",
}

_WORDS: dict[Reason, str] = {
    "no-memory": "the memory is not enough",
    "no-processes": "the limit on processes and threads is reached",
    "no-descriptors": "the limit on open files is reached",
    "not-executable": "the Python interpreter cannot be executed",
    "ends-at-start": "the process ends while it starts; the lines above may say why",
    "no-answer": "the process does not get ready in time",
}


class StartFailure(Exception):
    """A decoder process did not start."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(_WORDS[reason])
        self.reason: Reason = reason


def unavailable() -> StageFailure:
    """Return the failure of a task that no decoder can run now."""
    message = "This worker cannot run a decoder now; its health says why."
    return StageFailure(Category.TEMPORARY, UNAVAILABLE, message)


def shortage(error: BaseException) -> Reason | None:
    """Return what the machine lacks; None if the error has another cause."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        reasons: list[Reason | None] = [shortage(each) for each in group.exceptions]
        return next((reason for reason in reasons if reason is not None), None)
    if isinstance(error, MemoryError):
        return "no-memory"
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno)
    # CPython gives no errno: thread_PyThread_start_new_thread.
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "no-processes"
    return None


def reason_of_end(status: int | None) -> Reason:
    """Return the reason for a process that ended at its start with that exit status.

    Only the kernel's OOM killer, or an operator, sends SIGKILL to a process that starts.
    """
    return "no-memory" if status == -signal.SIGKILL else "ends-at-start"
