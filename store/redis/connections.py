"""Connections to one server, which can be closed while tasks use them.

The library's pool closes a connection under the task that uses it: it removes the streams that the
task is about to write to or read from. The task then ends with an ``AttributeError``, a
``RuntimeError`` or whatever else the event loop makes of it. Here, each connection belongs to the
task that took it from the pool, and only that task closes it. Closing the pool closes the idle
connections and breaks the transport of the others, which ends what their tasks wait for.

Every failure between a task and the server is a ``ConnectionError`` of the library, including bytes
that are not the protocol and replies of the wrong shape.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)

SHAPELESS = (TypeError, ValueError, LookupError, AttributeError)
"""Raised by code that parses a reply of the wrong shape."""

_BROKEN = (*SHAPELESS, RuntimeError, EOFError, exceptions.InvalidResponse)
"""Raised by the library and the event loop when a connection breaks or carries garbage."""

_pack = cast("Callable[[tuple[Any, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType] # declared for one word


class legible:  # noqa: N801 # used like a function; a generator would cost three times as much
    """Guard code of the library that parses a reply; raises the library's ConnectionError."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, (*SHAPELESS, exceptions.InvalidResponse)):
            raise exceptions.ConnectionError(
                f"the reply to {self._what} is unreadable ({type(error).__name__}: {error})"
            ) from error


@contextmanager
def _unbroken() -> Generator[None]:
    try:
        yield
    except _BROKEN as error:
        raise exceptions.ConnectionError(
            f"the connection broke ({type(error).__name__}: {error})"
        ) from error


class _Owned(AbstractConnection):
    """A connection that is closed only by the task that took it from the pool."""

    abandoned = False

    def abandon(self) -> None:
        """Fail whatever the owner waits for, now or as soon as it is connected."""
        self.abandoned = True
        writer: asyncio.StreamWriter | None = self._writer
        if writer is not None:
            with suppress(*_BROKEN):  # it has ended on its own
                writer.transport.abort()

    async def connect(self) -> None:
        try:
            with _unbroken():
                await super().connect()
                self._refuse_abandoned()
        except BaseException:
            await self.disconnect(nowait=True)  # a half-made connection must not be used again
            raise

    def __del__(self, *args: Any) -> None:
        # Its transport is closed. The library would warn that its task was cancelled before
        # returning it.
        if self.abandoned:
            self._writer = None
        super().__del__(*args)  # pyright: ignore[reportUnknownMemberType] # untyped

    def _refuse_abandoned(self) -> None:
        if self.abandoned:
            raise exceptions.ConnectionError(CLOSED)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send it, and wait only while too many bytes are unsent.

        The library limits the time of each write, for which Python 3.11 starts a task. But a write
        below the high-water mark of the transport does not wait.
        """
        with _unbroken():
            self._refuse_abandoned()  # also while it is being made: the server may be silent
            if self._write(command):
                return
            await super().send_packed_command(command, check_health)

    def _write(self, command: Any) -> bool:
        """Write if nothing has to be waited for, before or afterwards; return whether it was."""
        writer: asyncio.StreamWriter | None = self._writer
        if writer is None or self.health_check_interval or not isinstance(command, list):
            return False
        transport = writer.transport
        if transport.is_closing():
            return False
        parts = cast("list[bytes]", command)
        unsent_bytes = transport.get_write_buffer_size() + sum(map(len, parts))
        if unsent_bytes > transport.get_write_buffer_limits()[1]:
            return False
        writer.writelines(parts)
        return True

    def pack_command(self, *args: Any) -> list[bytes]:
        """Write the command in C: a twentieth of the time that the library takes for an append."""
        first = args[0].encode() if isinstance(args[0], str) else args[0]
        try:
            return [_pack((*first.split(), *args[1:]))]
        except TypeError:  # the library also takes other buffers, and names what it rejects
            return super().pack_command(*args)

    async def can_read(self) -> bool:
        with _unbroken():
            return await super().can_read()

    async def read_response(self, *args: Any, **options: Any) -> Any:
        with _unbroken():
            return await super().read_response(*args, **options)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # untyped

    async def disconnect(self, *args: Any, **options: Any) -> None:
        """Close it. It counts as closed even if waiting for the end of the stream fails."""
        with suppress(*_BROKEN, exceptions.TimeoutError):
            await super().disconnect(*args, **options)


class _Tcp(_Owned, Connection):
    pass


class _Tls(_Owned, SSLConnection):
    pass


class _Unix(_Owned, UnixDomainSocketConnection):
    pass


_KINDS: dict[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}

CLOSED = "the client was closed"


class Pool(ConnectionPool):
    """Raises the library's ConnectionError for any use after it was closed."""

    def __init__(
        self, connection_class: type[AbstractConnection] = Connection, **options: Any
    ) -> None:
        self._closed = False
        super().__init__(connection_class=_KINDS[connection_class], **options)  # pyright: ignore[reportUnknownMemberType] # **kwargs of the library

    @property
    def is_closed(self) -> bool:
        return self._closed

    async def get_connection(self, *args: Any, **options: Any) -> AbstractConnection:
        if self._closed:
            raise exceptions.ConnectionError(CLOSED)
        connection = await super().get_connection(*args, **options)
        if self._closed:
            await self.release(connection)
            raise exceptions.ConnectionError(CLOSED)
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        if not self._closed:
            return await super().release(connection)
        self._in_use_connections.discard(connection)
        await connection.disconnect(nowait=True)
        return None

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: ARG002
        """Close the pool for good; tasks close the connections that they use."""
        self._closed = True
        idle, self._available_connections = self._available_connections, []
        for connection in tuple(self._in_use_connections):
            if isinstance(connection, _Owned):
                connection.abandon()
        await asyncio.gather(*(each.disconnect() for each in idle))
