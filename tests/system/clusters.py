"""Clusters of three masters with one replica each, on this machine."""

import signal
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import msgspec
from redis import Redis

from tests.ports import free_ports
from tests.servers import process_of, valkey

DEADLINE_S = 60.0
MASTERS = 3
NODE_TIMEOUT_MS = 1_000
SLOTS = 16_384


class Node(msgspec.Struct, frozen=True, kw_only=True):
    port: int
    folder: Path

    def ask(self, *command: str | int) -> str:
        return str(self.reply(*command))

    def reply(self, *command: str | int) -> Any:
        with Redis(port=self.port, socket_timeout=5, decode_responses=True) as redis:
            untyped: Any = redis
            return untyped.execute_command(*command)

    def kill(self) -> None:
        process_of(self.folder).kill()
        process_of(self.folder).wait()

    def freeze(self) -> None:
        process_of(self.folder).send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        process_of(self.folder).send_signal(signal.SIGCONT)


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """A running cluster; ``nodes`` are the masters, then the replica of each."""

    nodes: list[Node]
    servers: ExitStack

    def start(self, node: Node) -> None:
        """Start a killed node again; it becomes a replica of the node that took its place."""
        self.servers.enter_context(valkey(node.folder, *_options(node.port)))

    @property
    def url(self) -> str:
        """The URL of the cluster, which names two of its nodes."""
        first, second = self.nodes[0].port, self.nodes[1].port
        return f"redis+cluster://127.0.0.1:{first},127.0.0.1:{second}"

    def master_of(self, key: str) -> Node:
        slot = int(self.nodes[-1].ask("CLUSTER", "KEYSLOT", key))
        return self.nodes[next(n for n in range(MASTERS) if slot in _slots(n))]

    def replica_of(self, node: Node) -> Node:
        return self.nodes[self.nodes.index(node) + MASTERS]

    def shard_of(self, node: Node) -> tuple[Node, Node]:
        """Return the two nodes of a shard, its master and its replica."""
        number = self.nodes.index(node) % MASTERS
        return self.nodes[number], self.nodes[number + MASTERS]

    async def promoted(self, node: Node) -> None:
        """Wait until the replica has taken its master's place."""
        with anyio.fail_after(DEADLINE_S):
            while "role:master" not in node.ask("INFO replication"):
                await anyio.sleep(0.05)


class Clusters:
    """Provide a new cluster for each test, and start the next one while a test runs.

    A master accepts writes no sooner than two seconds after its start. No test waits for that but
    the first.
    """

    def __init__(self) -> None:
        self._starter = ThreadPoolExecutor(1)
        self._spare: dict[str | None, Future[Cluster]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._discard()
        self._starter.shutdown()

    @contextmanager
    def one(self, binary: str | None = None) -> Generator[Cluster]:
        """Provide a cluster of the server ``binary``, the bundled one by default."""
        starting = self._spare.pop(binary, None) or self._starter.submit(_start, binary)
        formed = starting.result()
        self._discard()
        self._spare[binary] = self._starter.submit(_start, binary)
        with formed.servers:
            yield formed

    def _discard(self) -> None:
        """End the spare cluster."""
        while self._spare:
            _, starting = self._spare.popitem()
            if not starting.cancel():
                starting.result().servers.close()


def _start(binary: str | None) -> Cluster:
    """Start and form a cluster; it runs until its ``servers`` are closed."""
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="photolog-")))
        nodes = [Node(port=port, folder=folder / f"{port}") for port in free_ports(2 * MASTERS)]
        for node in nodes:
            node.folder.mkdir()
            servers.enter_context(valkey(node.folder, *_options(node.port), binary=binary))
        _form(nodes)
        return Cluster(nodes=nodes, servers=servers.pop_all())


def _options(port: int) -> tuple[str, ...]:
    return (
        *("--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes"),
        *("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-require-full-coverage", "no"),
        *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
        *("--save", "", "--loglevel", "warning"),
    )


def _slots(number: int) -> range:
    return range(number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS)


def _form(nodes: list[Node]) -> None:
    for number, node in enumerate(nodes):
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for number, node in enumerate(nodes[:MASTERS]):
        slots = _slots(number)
        node.ask("CLUSTER", "ADDSLOTSRANGE", slots.start, slots.stop - 1)
    for node in nodes[1:]:
        nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port)
    for node in nodes:
        _until(lambda node=node: f"cluster_known_nodes:{len(nodes)}" in node.ask("CLUSTER", "INFO"))
    for number, replica in enumerate(nodes[MASTERS:]):
        name = nodes[number].ask("CLUSTER", "MYID")
        _until(lambda name=name, replica=replica: name in replica.ask("CLUSTER", "NODES"))
        replica.ask("CLUSTER", "REPLICATE", name)
    for node in nodes:
        _until(lambda node=node: "cluster_state:ok" in node.ask("CLUSTER", "INFO"))
    for node in nodes:
        _until(lambda node=node: node.ask("CLUSTER", "NODES").count("slave ") == MASTERS)
    for replica in nodes[MASTERS:]:
        _until(lambda replica=replica: "master_link_status:up" in replica.ask("INFO replication"))
    for node in nodes:  # what clients see: a replica counts once it has received something
        _until(lambda node=node: all(len(each) > 3 for each in node.reply("CLUSTER SLOTS")))


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the cluster did not form"
        time.sleep(0.02)
