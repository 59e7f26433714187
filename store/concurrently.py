"""Ask several partitions or lanes at once, and fail like one question if any of them fails."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

import anyio

A = TypeVar("A")
T = TypeVar("T")


async def for_each(ask: Callable[[A], Awaitable[T]], items: Iterable[A]) -> list[T]:
    """Return the answer to ``ask(item)`` of each item, in order, asking all at once.

    Raises:
        Exception: the first error of ``ask``; the other questions are cancelled.
    """
    found: dict[int, T] = {}

    async def run(at: int, item: A) -> None:
        found[at] = await ask(item)

    try:
        async with anyio.create_task_group() as tasks:
            for at, item in enumerate(items):
                tasks.start_soon(partial(run, at, item))
    except ExceptionGroup as errors:  # the first is enough; it ended the others
        raise errors.exceptions[0] from None
    return [found[at] for at in sorted(found)]
