"""Show a progress bar on standard error during long work."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress_bar(*, quiet: bool) -> Generator[Callable[[int, int | None], None]]:
    """Yield a function to call with ``(done, total)``; an unknown total is None.

    Shows nothing if ``quiet``, or if standard error is not a terminal.
    """
    console = Console(stderr=True)
    with Progress(
        *(BarColumn(), MofNCompleteColumn(), TaskProgressColumn(), TimeRemainingColumn()),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
