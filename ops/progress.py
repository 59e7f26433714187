"""A bar on standard error for work of which it is known how much there is."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn


@contextmanager
def progress_bar(*, quiet: bool) -> Generator[Callable[[int, int], None]]:
    """Yields what to call with ``(done, total)``; shows nothing where nobody looks."""
    console = Console(stderr=True)
    with Progress(
        *(BarColumn(), TaskProgressColumn(), TimeRemainingColumn()),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
