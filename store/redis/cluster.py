"""A cluster as one client: each command goes to the node that has its keys.

Each node has its own client and breaker, so a node that fails stops only its own partitions. The
library's cluster client closes the connections to all nodes when one of them fails, and rejects
scripts in pipelines; so this module routes commands itself.

- It asks any node for the slot map at the first command, after a ``MOVED`` reply, and every
  ``REFRESH_S`` while a node does not answer. Meanwhile commands to other nodes go on.
- A command answered with ``MOVED`` or ``ASK`` was not executed, and is sent again to the node that
  the reply names. No other command with a key is sent twice: if its reply was lost, it may have
  happened.
- A command without a key goes to any available node, and to the next one if that fails: these
  commands are safe to repeat. A pipeline goes to the node of its first key, and is sent again if
  all of its keys were redirected.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Self, cast
from urllib.parse import urlsplit, urlunsplit

import anyio
from redis import exceptions
from redis.asyncio.client import Pipeline, PubSub
from redis.crc import key_slot

from store.breaker import Breaker, CompositeBreaker
from store.errors import CircuitOpen, Unavailable, UnsuitableServer
from store.redis.combining import Command, Sender
from store.redis.connection import AWAY, PROBE_S, Client, Wait, plain
from store.redis.connections import legible

SCHEME = "+cluster"
"""Follows redis or rediss in a URL, which may list several nodes, separated by commas."""

REFRESH_S = 0.2
REDIRECTIONS = 5
TRY_AGAIN_S = 0.05

SLOTS = 16_384

_KEYLESS = (
    "ACL",
    "CLUSTER",
    "COMMAND",
    "CONFIG",
    "INFO",
    "PING",
    "PUBLISH",
    "TIME",
    "WAIT",
    "WAITAOF",
)

_Command = tuple[tuple[Any, ...], dict[str, Any]]

_ASKING: _Command = (("ASKING",), {})

_NOT_HERE = (exceptions.AskError, exceptions.TryAgainError, exceptions.ClusterDownError)
"""The errors of a node that does not have all keys of a command; MovedError is an AskError."""


class Cluster(Client):
    """Combines the clients of its masters; ``breaker`` reports the worst of theirs."""

    @classmethod
    def at(cls, url: str, breaker: Breaker) -> Self:
        """Return the cluster of the nodes in ``url``, without connecting yet."""
        parts = urlsplit(url)
        user, at, hosts = parts.netloc.rpartition("@")
        scheme = parts.scheme.removesuffix(SCHEME)
        seeds = hosts.split(",")

        def url_of(node: str) -> str:
            return urlunsplit(parts._replace(scheme=scheme, netloc=f"{user}{at}{node}"))

        cluster = plain(url_of(seeds[0]), breaker, cls)
        cluster.begin(seeds, url_of, breaker)
        return cluster

    def begin(self, seeds: list[str], url_of: Callable[[str], str], breaker: Breaker) -> None:
        """Finish what ``at`` began, because the library creates the object."""
        self._seeds = seeds
        self._url_of = url_of
        self._like = breaker
        self._nodes: dict[str, Client] = {}
        self._owners: list[str | None] = [None] * SLOTS
        self._masters: set[str] = set()
        self._most_replicas = 0
        self._suspects: set[str] = set()
        self._refresh_at = 0.0
        self._refreshing = anyio.Lock()
        self.breaker = CompositeBreaker(breaker.name, self._breakers)

    async def nodes(self) -> Sequence[Client]:
        """Return a client of each master."""
        if not self._masters:
            await self._refresh()
        if not self._masters:
            raise Unavailable("no node of the cluster knows which node has its slots")
        return [self._node(name) for name in sorted(self._masters)]

    async def most_replicas(self) -> int:
        """Return the number of replicas of the master with the most, as reported just now."""
        if not self._masters or time.monotonic() >= self._refresh_at:
            await self._refresh()
        return self._most_replicas

    def owner(self, key: str) -> str:
        return self._owners[key_slot(key.encode())] or ""

    async def check(self, key: str | None = None) -> None:
        node = self._any() if key is None else self._node_of(key_slot(key.encode()))
        await (await node).check()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        key = _key_of(args)
        if key is None:
            return await self._anywhere(lambda node: node.execute_command(*args, **options))
        slot = key_slot(_encoded(key))

        async def send(node: Client) -> Any:
            return await node.execute_command(*args, **options)

        async def ask(node: Client) -> Any:
            [reply] = await _asked(node, [(args, options)])
            if isinstance(reply, Exception):
                raise reply
            return reply

        return await self._routed(slot, send, ask)

    async def exchange(self, commands: Sequence[Command], wait: Wait | None) -> Sequence[Any]:
        """Send commands on keys of one slot to the node that has it; see ``Client.exchange``."""
        key = _key_of(commands[0])
        if key is None:
            return await self._anywhere(lambda node: node.exchange(commands, wait))

        def checked(replies: Sequence[Any]) -> Sequence[Any]:
            if all(isinstance(reply, _NOT_HERE) for reply in replies):
                raise replies[0]  # nothing was executed
            return replies

        async def send(node: Client) -> Sequence[Any]:
            return checked(await node.exchange(commands, wait))

        async def ask(node: Client) -> Sequence[Any]:
            both = [each for command in commands for each in (_ASKING[0], command)]
            return checked((await node.exchange(both, wait))[1::2])

        return await self._routed(key_slot(_encoded(key)), send, ask)

    def sender(self, wait: Wait | None) -> Sender:
        """Send each script on its own: its keys say to which node."""

        async def send(command: Command) -> Any:
            [reply] = await self.exchange([command], wait)
            if isinstance(reply, Exception):
                raise reply
            return reply

        return send

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _Pipeline(self, transaction, shard_hint)

    async def run(self, commands: list[_Command]) -> list[Any]:
        """Return the replies, including errors, of commands sent together to one node."""
        key = next((key for args, _ in commands if (key := _key_of(args)) is not None), None)
        if key is None:
            return await self._anywhere(lambda node: _piped(node, commands))

        def checked(replies: list[Any]) -> list[Any]:
            of_keys = [
                reply
                for (args, _), reply in zip(commands, replies, strict=True)
                if _key_of(args) is not None
            ]
            if all(isinstance(reply, exceptions.AskError) for reply in of_keys):  # or MOVED
                raise of_keys[0]  # nothing was executed
            return replies

        async def send(node: Client) -> list[Any]:
            return checked(await _piped(node, commands))

        async def ask(node: Client) -> list[Any]:
            return checked(await _asked(node, commands))

        return await self._routed(key_slot(_encoded(key)), send, ask)

    def pubsub(self, **kwargs: Any) -> PubSub:
        """Subscribe at any node: a message published at one reaches all."""
        names = [name for name in self._masters if name not in self._suspects] or self._seeds
        return self._node(random.choice(names)).pubsub(**kwargs)  # noqa: S311

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            await node.aclose()
        await super().aclose(close_connection_pool)

    async def _anywhere(self, send: Callable[[Client], Any]) -> Any:
        """Return the first reply, trying nodes that appear to be available first."""
        left = len(await self.nodes())
        while True:
            node, left = await self._any(), left - 1
            try:
                reply = await send(node)
            except (*AWAY, CircuitOpen):
                self._suspects.add(_name(node))
                if left <= 0:
                    raise
            else:
                self._suspects.discard(_name(node))
                return reply

    async def _routed(
        self,
        slot: int,
        send: Callable[[Client], Any],
        ask: Callable[[Client], Any],
    ) -> Any:
        node, way = await self._node_of(slot), send
        for _ in range(REDIRECTIONS):
            try:
                reply = await way(node)
            except exceptions.MovedError as error:
                await self._moved(slot, _address(error))
                node, way = await self._node_of(slot), send
            except exceptions.AskError as error:
                node, way = self._node(_address(error)), ask
            except exceptions.TryAgainError:
                await anyio.sleep(TRY_AGAIN_S)
            except (*AWAY, CircuitOpen, exceptions.ClusterDownError):
                self._suspects.add(_name(node))
                raise
            else:
                self._suspects.discard(_name(node))
                return reply
        raise Unavailable(
            "the cluster is resharding: every node redirects to another one; retry later"
        )

    async def _moved(self, slot: int, name: str) -> None:
        """Take over the new owner at once, and ask about the other slots."""
        self._owners[slot] = name
        self._masters.add(name)
        if time.monotonic() >= self._refresh_at:
            await self._refresh()

    async def _node_of(self, slot: int) -> Client:
        name = self._owners[slot]
        if name is None or (name in self._suspects and time.monotonic() >= self._refresh_at):
            await self._refresh()
            name = self._owners[slot]
        if name is None:
            raise Unavailable(f"no node of the cluster has slot {slot}")
        return self._node(name)

    async def _any(self) -> Client:
        """Return a master that appears to be available."""
        nodes = await self.nodes()
        well = [node for node in nodes if node.breaker.state == "closed"]
        well = [node for node in well if _name(node) not in self._suspects] or well or [*nodes]
        return random.choice(well)  # noqa: S311

    def _node(self, name: str) -> Client:
        node = self._nodes.get(name)
        if node is None:
            breaker = self._like.another(f"{self._like.name} {name}")
            node = self._nodes[name] = plain(self._url_of(name), breaker, Client)
        return node

    def _breakers(self) -> list[Breaker]:
        return [self._nodes[name].breaker for name in self._masters if name in self._nodes]

    async def _refresh(self) -> None:
        """Ask for the slot map.

        Raises:
            Unavailable: no node returned it, and there is no earlier one.
            UnsuitableServer: the server is not a node of a cluster.
            Denied: it rejects our credentials.
        """
        asked_at = time.monotonic()
        async with self._refreshing:
            if self._refresh_at > asked_at:  # another task has asked meanwhile
                return
            names = sorted({*self._seeds, *self._nodes}, key=lambda name: name in self._suspects)
            failures: list[Exception] = []
            for name in names:
                try:
                    with anyio.fail_after(PROBE_S):
                        found: Any = await self._node(name).execute_command("CLUSTER SLOTS")
                    with legible("CLUSTER SLOTS"):
                        owners = _owners(found, name.rpartition(":")[0])
                        most = max((len(each) - 3 for each in found), default=0)
                except (*AWAY, CircuitOpen) as error:
                    failures.append(error)
                    continue
                except exceptions.ResponseError as error:
                    if "cluster support disabled" in str(error):
                        raise UnsuitableServer(
                            f"{name} is not a node of a cluster: remove {SCHEME} from the URL"
                        ) from error
                    if isinstance(error, exceptions.NoPermissionError):
                        raise
                    failures.append(error)
                    continue
                if not any(owners):  # it has not joined the others yet, or has left them
                    continue
                self._refresh_at = time.monotonic() + REFRESH_S
                self._most_replicas = most
                await self._learn(owners)
                return
            self._refresh_at = time.monotonic() + REFRESH_S
            if failures and not self._masters:
                raise failures[0]

    async def _learn(self, owners: list[str | None]) -> None:
        self._owners = owners
        before, self._masters = self._masters, {name for name in owners if name is not None}
        self._suspects &= self._masters
        for name in before - self._masters:
            # Tasks still waiting for this node's answer must ask another one.
            if (node := self._nodes.pop(name, None)) is not None:
                await node.aclose()


class _Pipeline(Pipeline):
    def __init__(self, cluster: Cluster, transaction: bool, shard_hint: str | None) -> None:
        super().__init__(
            cluster.connection_pool, cluster.response_callbacks, transaction, shard_hint
        )
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands = cast("list[_Command]", self.command_stack)
        self.command_stack = []
        replies = await self._cluster.run(commands) if commands else []
        for reply in replies if raise_on_error else ():
            if isinstance(reply, Exception):
                raise reply
        return replies


async def _piped(node: Client, commands: list[_Command]) -> list[Any]:
    pipeline: Any = node.pipeline(transaction=False)
    for args, options in commands:
        pipeline.execute_command(*args, **options)
    return await pipeline.execute(raise_on_error=False)


async def _asked(node: Client, commands: list[_Command]) -> list[Any]:
    """Ask a node that does not have the slot yet."""
    both = [each for command in commands for each in (_ASKING, command)]
    return (await _piped(node, both))[1::2]


def _owners(found: Any, asked: str) -> list[str | None]:
    """Return the owner of each slot, from the answer of the node with the address ``asked``."""
    owners: list[str | None] = [None] * SLOTS
    for first, last, (host, port, *_), *_ in found:
        shown = host.decode() if host else asked.strip("[]")
        name = f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
        owners[first : last + 1] = [name] * (last + 1 - first)
    return owners


def _name(node: Client) -> str:
    return node.breaker.name.rpartition(" ")[2]


def _address(error: exceptions.AskError) -> str:
    untyped: Any = error
    return f"{untyped.host}:{untyped.port}"


def _key_of(args: Sequence[Any]) -> str | bytes | None:
    """Return the first key of a command from the library; None if it has none."""
    name = str(args[0])
    if name.partition(" ")[0] in _KEYLESS:
        return None
    if name in ("EVAL", "EVALSHA"):
        return args[3] if int(args[2]) else None
    if name in ("XREAD", "XREADGROUP"):
        return args[[*map(_encoded, args)].index(b"STREAMS") + 1]
    return args[1]


def _encoded(part: Any) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()
