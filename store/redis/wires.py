"""Exchanges with one server: commands that are written together, and their replies.

The library reads each reply by several coroutines, a timeout and a lock, which cost more than the
reply itself. A wire takes a connection that the library has made, with its credentials and its
encryption, and reads the replies in the callback of the event loop instead. It keeps the connection
between exchanges, as one of those that the pool counts as in use.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
from redis import exceptions
from redis._parsers import BaseParser
from redis.asyncio.connection import AbstractConnection

from store.redis.connections import CLOSED, Pool, legible

Command = Sequence[Any]

_UNFINISHED = object()
_error_of = cast("Callable[[str], Exception]", BaseParser.parse_error)  # pyright: ignore[reportUnknownMemberType] # untyped


class Wire(asyncio.Protocol):
    """One connection, which carries one exchange at a time."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self._reader = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=_error_of,
            notEnoughData=_UNFINISHED,
        )
        self._replies: list[Any] = []
        self._expected = 0
        self._answer: asyncio.Future[list[Any]] | None = None
        writer: asyncio.StreamWriter = connection._writer  # noqa: SLF001 # pyright: ignore[reportPrivateUsage, reportAssignmentType]
        self._transport = writer.transport
        # It has to hear of the end: closing the connection waits for that.
        self._before = self._transport.get_protocol()
        self._transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether the connection can carry another exchange, as far as is known."""
        return not self._transport.is_closing()

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Return a reply or an error for each command.

        Raises:
            ConnectionError, TimeoutError: of the library; the wire is then closed.
        """
        loop = asyncio.get_running_loop()
        connection = self.connection
        words = [part for command in commands for part in connection.pack_command(*command)]
        self._replies, self._expected = [], len(commands)
        answer = self._answer = loop.create_future()
        limit = loop.call_later(connection.socket_timeout or 0.0, self._expire)
        try:
            self._transport.write(b"".join(words))
            return await answer
        finally:
            self._answer = None
            limit.cancel()
            if not answer.done() or answer.cancelled() or answer.exception() is not None:
                self._transport.abort()

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        try:
            with legible("an exchange"):
                self._reader.feed(data)
                while (reply := self._reader.gets()) is not _UNFINISHED:
                    if not isinstance(reply, hiredis.PushNotification):
                        self._replies.append(reply)
        except exceptions.ConnectionError as error:
            return self._fail(error)
        if answer is None or len(self._replies) > self._expected:
            return self._fail(exceptions.ConnectionError("Redis sent a reply to no command"))
        if len(self._replies) == self._expected and not answer.done():
            away = next(
                (x for x in self._replies if isinstance(x, exceptions.ConnectionError)), None
            )
            if away is not None:
                return self._fail(away)
            answer.set_result(self._replies)
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        why = f" ({exc})" if exc else ""
        self._fail(exceptions.ConnectionError(f"the connection was closed{why}"))
        self._before.connection_lost(exc)

    def _expire(self) -> None:
        self._fail(exceptions.TimeoutError("Redis did not answer in time"))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self._transport.abort()


class Wires:
    """The wires to one server: as many as there are exchanges at a time; ``idle`` carry none."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.idle: list[Wire] = []

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Return a reply or an error for each command; see ``Wire.exchange``."""
        wire = await self._take()
        try:
            replies = await wire.exchange(commands)
        except BaseException:
            await self._drop(wire)
            raise
        self.idle.append(wire)
        return replies

    async def _take(self) -> Wire:
        if self._pool.is_closed:
            raise exceptions.ConnectionError(CLOSED)
        while self.idle:
            wire = self.idle.pop()
            if wire.is_open:
                return wire
            await self._drop(wire)
        return Wire(await self._pool.get_connection())

    async def _drop(self, wire: Wire) -> None:
        await wire.connection.disconnect(nowait=True)
        await self._pool.release(wire.connection)
