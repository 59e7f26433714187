"""What the running task works on: for log lines and traces, wherever in the code they are made.

Each asyncio task has a subject of its own, which the tasks that it starts begin with.
"""

from contextvars import ContextVar

import msgspec


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """``span_id`` is that of the span under way; empty is unknown."""

    trace_id: str = ""
    span_id: str = ""
    photo_id: str = ""
    job_id: str = ""


_NOTHING = Subject()
_subject: ContextVar[Subject] = ContextVar("photolog_subject", default=_NOTHING)


def current() -> Subject:
    return _subject.get()


def begin(subject: Subject) -> None:
    """The running task turns to ``subject``."""
    _subject.set(subject)
