"""Three masters with a replica each, on this machine, made and unmade by a test."""

import signal
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

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
    """``nodes`` are masters first, then the replica of each."""

    nodes: list[Node]
    servers: ExitStack

    def start(self, node: Node) -> None:
        """Start a node that was killed: it becomes the replica of whoever took its place."""
        self.servers.enter_context(valkey(node.folder, *_options(node.port)))

    @property
    def url(self) -> str:
        """Names two of the nodes."""
        first, second = self.nodes[0].port, self.nodes[1].port
        return f"redis+cluster://127.0.0.1:{first},127.0.0.1:{second}"

    def master_of(self, key: str) -> Node:
        slot = int(self.nodes[-1].ask("CLUSTER", "KEYSLOT", key))
        return self.nodes[next(n for n in range(MASTERS) if slot in _slots(n))]

    def replica_of(self, node: Node) -> Node:
        return self.nodes[self.nodes.index(node) + MASTERS]

    def shard_of(self, node: Node) -> tuple[Node, Node]:
        """The two nodes of which one is the master and the other one its replica."""
        number = self.nodes.index(node) % MASTERS
        return self.nodes[number], self.nodes[number + MASTERS]

    async def promoted(self, node: Node) -> None:
        """Wait until the replica has taken the place of its master."""
        with anyio.fail_after(DEADLINE_S):
            while "role:master" not in node.ask("INFO replication"):
                await anyio.sleep(0.05)


@contextmanager
def cluster(folder: Path, binary: str | None = None) -> Generator[Cluster]:
    """Ready at the begin of the block, gone at its end."""
    nodes = [Node(port=port, folder=folder / f"{port}") for port in free_ports(2 * MASTERS)]
    with ExitStack() as servers:
        for node in nodes:
            node.folder.mkdir()
            servers.enter_context(valkey(node.folder, *_options(node.port), binary=binary))
        _form(nodes)
        yield Cluster(nodes=nodes, servers=servers)


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


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the cluster did not form"
        time.sleep(0.02)
