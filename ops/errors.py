"""What the user of the command line can put right, and errors of tasks that ran side by side."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast


class UserError(Exception):
    """The message says what is wrong and what to do; it is shown without a traceback."""


@contextmanager
def one_by_one() -> Generator[None]:
    """Let the first of the errors of a task group out, as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    if isinstance(error, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
