"""Show a progress bar on standard error during long work."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


class Report(Protocol):
    def __call__(self, done: int, total: int | None, told: str = "", /) -> None: ...


@contextmanager
def progress_bar(*, quiet: bool) -> Generator[Report]:
    """Yield a function to call with ``(done, total)``; an unknown total is None.

    A third argument is shown in words after the time left.

    Shows nothing if ``quiet``, or if standard error is not a terminal.
    """
    console = Console(stderr=True)
    with Progress(
        *(BarColumn(), MofNCompleteColumn(), TaskProgressColumn(), TimeRemainingColumn()),
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)

        def report(done: int, total: int | None, told: str = "", /) -> None:
            bar.update(task, completed=done, total=total, description=told)

        yield report
