"""Sends the commands of concurrent tasks together: one exchange, and one wait for the disks.

Commands of tasks that run in the same turn of the event loop are sent together on one connection,
and so are those that come while ``UNDER_WAY`` exchanges are under way. Each is still one atomic
step of its own, with its own reply or error; only a connection that breaks ends all of them. As
between any tasks, none is sure to come first.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

MOST_TOGETHER = 16
"""The most commands of one exchange: they share its time limit."""

UNDER_WAY = 4
"""The most exchanges at a time: some are prepared here while the server works on the others.

Before a server syncs its disk it reads from each connection, but at most 16 KiB: that is 7 uploads.
So commands of more connections share a sync. With 50 writers, 2 exchanges of 32 commands take 83
syncs for 1,500 uploads, and 4 of 16 take 58.
"""

Command = Sequence[Any]
Exchange = Callable[[Sequence[Command]], Awaitable[Sequence[Any]]]
"""Sends commands together, and returns a reply or an error for each."""

Sender = Callable[[Command], Awaitable[Any]]
"""Sends one command; returns its reply, or raises its error."""


class Combiner:
    """Combines calls of one event loop; ``exchange`` sends them."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._waiting: deque[tuple[Command, asyncio.Future[Any]]] = deque()
        self._senders: set[asyncio.Task[None] | None] = set()

    async def send(self, command: Command) -> Any:
        """Return the reply, or raise the error, of this command.

        A command whose caller is cancelled before it was sent is not sent.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        # A sender that has been created takes what comes before it runs.
        if len(self._senders) < UNDER_WAY and len(self._waiting) % MOST_TOGETHER == 1:
            self._senders.add(asyncio.create_task(self._send_waiting()))
        return await answer

    async def _send_waiting(self) -> None:
        sender = asyncio.current_task()
        try:
            while batch := self._next_batch():
                await self._send_together(batch)
        except BaseException:
            while self._waiting:  # the loop ends, and with it this task
                self._waiting.popleft()[1].cancel()
            raise
        finally:
            # Here and not later: a command that comes next needs a sender of its own.
            self._senders.discard(sender)

    def _next_batch(self) -> list[tuple[Command, asyncio.Future[Any]]]:
        batch: list[tuple[Command, asyncio.Future[Any]]] = []
        while self._waiting and len(batch) < MOST_TOGETHER:
            command, answer = self._waiting.popleft()
            if not answer.done():
                batch.append((command, answer))
        return batch

    async def _send_together(self, batch: list[tuple[Command, asyncio.Future[Any]]]) -> None:
        replies: Sequence[Any]
        try:
            replies = await self._exchange([command for command, _ in batch])
        except Exception as error:
            replies = [error] * len(batch)
        except BaseException:
            for _, answer in batch:
                answer.cancel()
            raise
        for (_, answer), reply in zip(batch, replies, strict=True):
            if answer.done():
                continue
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)
