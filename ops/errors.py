"""Errors that a user of the command line can fix, and errors of concurrent tasks."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast


class UserError(Exception):
    """The message says what is wrong and what to do; it is shown without a traceback."""


@contextmanager
def one_by_one() -> Generator[None]:
    """Raise the first error of a task group instead of the group."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    if isinstance(error, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
