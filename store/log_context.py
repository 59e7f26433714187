"""The subject of the running task, for log lines and traces anywhere in the code.

Each asyncio task has its own subject, which the tasks that it starts inherit.
"""

from contextvars import ContextVar

import msgspec


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of the current work; empty if unknown. ``span_id`` is that of the open span."""

    trace_id: str = ""
    span_id: str = ""
    photo_id: str = ""
    job_id: str = ""


_NOTHING = Subject()
_subject: ContextVar[Subject] = ContextVar("photolog_subject", default=_NOTHING)


def current() -> Subject:
    return _subject.get()


def begin(subject: Subject) -> None:
    """Set the subject of the running task."""
    _subject.set(subject)
