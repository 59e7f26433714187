"""Creates Redis clients with safe defaults, and translates the driver's errors.

A client has a circuit breaker for commands, pipelines and subscriptions alike. Its probe is a PING
with its own deadline, because a command may block for seconds on purpose.
"""

import hashlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from importlib import resources
from typing import Any, TypeVar, cast

import anyio
import msgspec
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline, PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from store.breaker import Breaker
from store.errors import (
    Denied,
    GroupGone,
    IsReplica,
    LogFull,
    StoreError,
    Unavailable,
    Unexpected,
    WrongType,
)
from store.redis.combining import Combiner, Command, Sender
from store.redis.connections import SHAPELESS, Pool, legible
from store.redis.spoiled import WRONG_TYPE, explained
from store.redis.wires import Wires

logger = logging.getLogger("photolog.redis")

BLOCK_MS = 2_000
"""The longest blocking read; well below ``SOCKET_TIMEOUT_S``, which would abort it."""

SOCKET_TIMEOUT_S = 10.0

MAX_CONNECTIONS = 200
"""The most connections of one process to one server."""

PROBE_S = 1.0
"""How soon Redis has to answer to count as back."""

AWAY = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
"""The library's errors when there was no answer."""

_OURS = (exceptions.MaxConnectionsError,)
"""Errors of the client's own limits, which say nothing about the server."""

_MOVING = (exceptions.ClusterDownError, exceptions.AskError, exceptions.TryAgainError)

_DENIALS = (exceptions.AuthenticationError, exceptions.AuthorizationError, ssl.SSLError)
"""Causes of a connection error when the server is there and rejects the client."""

_GONE = ("NOGROUP", "no such key", "The XGROUP subcommand requires the key to exist")
"""The server's errors when a consumer group, or its stream, is missing."""

ALLOW_FULL = "#!lua flags=allow-oom\n"
"""The first line of a script that the server runs although it has no memory left."""

_ANSWERS: tuple[tuple[str | tuple[str, ...], type[StoreError], str], ...] = (
    ("UNBLOCKED", IsReplica, "Redis has become a replica"),
    ("BUSY ", Unavailable, "Redis is busy with a script"),
    ("NOREPLICAS", Unavailable, "Redis has too few replicas to take writes"),
    ("MISCONF", LogFull, "Redis rejects writes"),
    (_GONE, GroupGone, "a consumer group is missing"),
)
"""Maps how an error begins to what it means."""


class Client(Redis):
    """Rejects commands with CircuitOpen while Redis is known to be away."""

    breaker: Breaker
    wires: Wires

    async def nodes(self) -> "Sequence[Client]":
        """Return a client of each server that holds a part of the data: this one."""
        return (self,)

    def owner(self, key: str) -> str:  # noqa: ARG002
        """Return the server that has the key, as far as is known: here, always the same one.

        After a failover, the new owner may lack data of the old one.
        """
        return ""

    async def check(self, key: str | None = None) -> None:  # noqa: ARG002
        """Return if Redis appears to be available; if not, probe it once that is due.

        With ``key``, check only the server that has the key.

        Raises:
            CircuitOpen: a probe is not due yet, or another task is probing.
            Unavailable: Redis is still away.
        """
        if self.breaker.state == "closed":
            return
        with translated(), suppress(exceptions.ResponseError), self.counted():
            with anyio.fail_after(PROBE_S):
                await super().execute_command("PING")  # pyright: ignore[reportUnknownMemberType] # untyped

    def lua(self, name: str, wait: "Wait | None" = None, *, if_full: bool = False) -> "Script":
        """Return the script in ``store/<name>.lua``; ``if_full``: it exceeds ``maxmemory``."""
        text = resources.files("store").joinpath(f"{name}.lua").read_text("utf-8")
        return Script(self, f"{ALLOW_FULL}{text}" if if_full else text, wait)

    def sender(self, wait: "Wait | None") -> Sender:
        """Return what sends a script, and returns its reply once its writes are safe."""
        return Combiner(lambda commands: self.exchange(commands, wait)).send

    async def exchange(self, commands: Sequence[Command], wait: "Wait | None") -> Sequence[Any]:
        """Return a reply or an error for each command, once what they wrote is safe.

        They go to the server together, on one connection.
        """
        if self.breaker.state != "closed":
            await self.check()
        with self.counted():
            replies = await self.wires.exchange((*commands, *(wait.commands if wait else ())))
        own, waited = replies[: len(commands)], replies[len(commands) :]
        for at, reply in enumerate(own):
            if isinstance(reply, exceptions.ResponseError):
                own[at] = await explained(self, reply, commands[at])
        if wait and not all(isinstance(reply, Exception) for reply in own):
            for reply in waited:
                if isinstance(reply, Exception):
                    raise reply
            wait.check(waited)
        return own

    async def in_a_row(self, *commands: Sequence[Any]) -> list[Any]:
        """Return the replies to commands sent together on one connection; raise the first error."""
        pipeline: Any = self.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute()

    def counted(self) -> AbstractContextManager[None]:
        """Guard one exchange with the server, after ``check``."""
        return self.breaker.call(AWAY, unrelated=_OURS)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        await self.check()
        try:
            with self.counted():
                return cast("Any", await super().execute_command(*args, **options))  # pyright: ignore[reportUnknownMemberType] # untyped
        except exceptions.ResponseError as error:
            named = await explained(self, error, args)
            if named is error:
                raise
            raise named from error

    async def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        return await _parsed(super().parse_response, connection, command_name, options)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] # untyped

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _Pipeline(self, transaction, shard_hint)

    def pubsub(self, **kwargs: Any) -> PubSub:
        return _PubSub(self, **kwargs)


ASKED_AGAIN_MS = 10, 100
"""When a replica is asked again what is on its disk."""


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """When a write is safe: once it is on the disks of the server and of this many ``replicas``."""

    replicas: int = 0
    timeout_s: float = 2.0

    @property
    def commands(self) -> tuple[tuple[str | int, ...], ...]:
        """Return the commands that wait for everything written on the connection before.

        A server asks its replicas for their progress once per command, and otherwise hears from
        them once a second. A replica asked before the write is on its disk reports its earlier
        state; so it is asked again when it is known to have the write, and twice more. With Valkey
        9 and one replica this takes 3 ms instead of 1,000 (medians, on one machine).
        """
        half_ms = round(self.timeout_s * 500)
        disks = [("WAITAOF", 1, self.replicas, ms) for ms in (*ASKED_AGAIN_MS, half_ms)]
        return (("WAIT", self.replicas, half_ms), *disks) if self.replicas else (disks[-1],)

    def check(self, replies: Sequence[Any]) -> None:
        """Check the replies of a write and of ``commands``; raises Unavailable."""
        here, elsewhere = replies[-1]
        if here < 1 or elsewhere < self.replicas:
            raise Unavailable(
                f"written, but not known to be safe: after {self.timeout_s:g} s it was on the disk "
                f"of {elsewhere} of {self.replicas} replicas{'' if here else ', not the master'}"
            )


class Script:
    """A script, sent by its digest; in full to a server that does not know it yet.

    With ``wait`` a call returns once its writes are safe, or raises Unavailable. ``send`` can
    replace how a call is sent, see ``Durability.read``.
    """

    def __init__(self, client: Client, text: str, wait: Wait | None) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._sender = client.sender(wait)

    async def __call__(
        self,
        *,
        keys: Sequence[str],
        args: Sequence[str | bytes | int | float] = (),
        send: Callable[..., Awaitable[Any]] | None = None,
    ) -> Any:
        rest = len(keys), *keys, *args
        try:
            return await self._send(send, ("EVALSHA", self._digest, *rest))
        except exceptions.NoScriptError:
            return await self._send(send, ("EVAL", self._text, *rest))

    def _send(self, send: Callable[..., Awaitable[Any]] | None, command: Command) -> Awaitable[Any]:
        return send(*command) if send else self._sender(command)


class _Pipeline(Pipeline):
    def __init__(self, client: Client, transaction: bool, shard_hint: str | None) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, shard_hint)
        self._client = client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        await self._client.check()
        commands = [args for args, _ in cast("list[tuple[Any, Any]]", self.command_stack)]
        with self._client.counted():
            replies: list[Any] = await super().execute(raise_on_error=False)
        for at, (reply, command) in enumerate(zip(replies, commands, strict=True)):
            if isinstance(reply, exceptions.ResponseError):
                replies[at] = await explained(self._client, reply, command)
        for reply in replies if raise_on_error else ():
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        return await _parsed(super().parse_response, connection, command_name, options)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] # untyped


async def _parsed(
    parse: Callable[..., Awaitable[Any]], connection: Any, command: Any, options: dict[str, Any]
) -> Any:
    """Return the reply to the command, or close the connection if the reply has the wrong shape.

    Such a reply may belong to another command.
    """
    try:
        with legible(str(command)):
            return await parse(connection, command, **options)
    except exceptions.ConnectionError:
        await connection.disconnect(nowait=True)
        raise


class _PubSub(PubSub):
    def __init__(self, client: Client, **kwargs: Any) -> None:
        super().__init__(client.connection_pool, **kwargs)  # pyright: ignore[reportUnknownMemberType] # untyped
        self._client = client

    async def execute_command(self, *args: Any) -> None:
        await self._client.check()
        with self._client.counted():
            await super().execute_command(*args)

    async def get_message(
        self,
        ignore_subscribe_messages: bool = False,
        timeout: float | None = 0.0,  # noqa: ASYNC109
    ) -> Any:
        with legible("a subscription"):
            return await super().get_message(ignore_subscribe_messages, timeout)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # untyped


def connect(url: str, breaker: Breaker | None = None) -> Client:
    """Return a client that never resends a command: a lost reply may be that of an append.

    Callers retry where that is safe. The URL may be that of a cluster, see ``store.redis.cluster``.
    """
    from store.redis.cluster import SCHEME, Cluster  # noqa: PLC0415 # it imports this module

    breaker = breaker or Breaker("redis")
    if url.partition("://")[0].endswith(SCHEME):
        return Cluster.at(url, breaker)
    return plain(url, breaker, Client)


C = TypeVar("C", bound=Client)


def plain(url: str, breaker: Breaker, kind: type[C]) -> C:
    """Return a client of one server."""
    pool = Pool.from_url(  # pyright: ignore[reportUnknownMemberType] # **kwargs of the library
        url,
        protocol=3,
        legacy_responses=False,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=5.0,
        max_connections=MAX_CONNECTIONS,
    )
    client = cast("C", kind.from_pool(pool))
    client.breaker = breaker
    client.wires = Wires(pool)
    return client


class translated:  # noqa: N801 # used like a function; a generator would cost three times as much
    """Translate the driver's errors into StoreErrors, and let StoreErrors pass.

    Code that parses a reply belongs in the block: a broken server or proxy may send a reply of the
    wrong type.

    Raises:
        Unavailable: no answer, or the server is loading, failing over or stopping.
        Denied: it rejects the user, the password or the certificate, or forbids the command.
        GroupGone: the consumer group does not exist.
        LogFull: the server rejects writes because memory or disk is full.
        WrongType: another program has changed the type of a key, which the message names.
        Unexpected: any other error, or a reply of the wrong type; it is logged.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None and (meaning := _meaning(error)) is not None:
            raise meaning from error


def _meaning(error: BaseException) -> StoreError | None:
    """Return the error to raise instead; None to let it pass."""
    if isinstance(error, AWAY):
        if _is_denial(error):
            return Denied(f"Redis rejects the credentials or the certificate: {error}")
        return Unavailable(f"Redis did not answer: {error}")
    if isinstance(error, _MOVING):
        return Unavailable(f"the cluster is resharding: {error}")
    if isinstance(error, exceptions.NoScriptError):
        return None  # ``Script`` then sends the script in full
    if isinstance(error, exceptions.ResponseError):
        return _answer(error)
    if isinstance(error, exceptions.RedisError):
        return _unexpected(error)
    return _unreadable(error) if isinstance(error, SHAPELESS) else None


def _answer(error: exceptions.ResponseError) -> StoreError:
    text = str(error)
    match error:
        case exceptions.OutOfMemoryError():
            return LogFull(f"Redis rejects writes: {text}")
        case exceptions.NoPermissionError():
            return Denied(f"Redis forbids the command: {text}")
        case exceptions.ReadOnlyError():
            return IsReplica(f"Redis is a replica and takes no writes: {text}")
        case _:
            pass
    for beginning, kind, words in _ANSWERS:
        if text.startswith(beginning):
            return kind(f"{words}: {text}")
    if WRONG_TYPE in text:
        return WrongType(text.removeprefix(f"{WRONG_TYPE} "))
    return _unexpected(error)


def _unexpected(error: exceptions.RedisError) -> Unexpected:
    logger.error("Redis answered with an unexpected error", exc_info=error)
    return Unexpected(f"Redis answered with an unexpected error: {error}")


def _unreadable(error: Exception) -> Unexpected:
    logger.error("Redis sent a reply of the wrong type", exc_info=error)
    what = f"{type(error).__name__}: {error}"
    return Unexpected(f"Redis sent a reply of the wrong type ({what})")


def _is_denial(error: BaseException) -> bool:
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, _DENIALS):
        behind = behind.__cause__ or behind.__context__
    return behind is not None
