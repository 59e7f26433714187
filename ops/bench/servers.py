"""The servers that a measurement starts for itself, on loopback and in a temporary folder.

| where | log | photos |
|---|---|---|
| embedded | the Valkey of ``up`` | a folder |
| outside | a Valkey at a port | MinIO |
| cluster | three masters of Valkey, 16 partitions | a folder |
| replicated | the same, with replicas for each master | a folder |
"""

import asyncio
import os
import random
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import (
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

from ops.process.embedded_valkey import valkey_binary
from store.redis.connection import Client, connect

MASTERS = 3
SLOTS = 16_384
CLUSTERED = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
NODE_TIMEOUT_MS = 1_000
"""After so long without an answer a master of ``replicated`` is replaced."""

REPLICATED = (
    *("--cluster-node-timeout", f"{NODE_TIMEOUT_MS}", "--cluster-replica-validity-factor", "0"),
    *("--repl-diskless-sync-delay", "0"),
)
READY_S = 30.0
PAUSE_S = 0.02

Environment = dict[str, str]


class Node:
    """One Valkey at a port of its own, whose appends are on the disk before they are answered."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = _free_port()
        self._folder = folder
        self._options = options
        folder.mkdir()

    def start(self) -> None:
        """Start it, with what it had on its disk."""
        self._process = subprocess.Popen(
            [
                *(str(valkey_binary()), "--port", f"{self.port}", "--bind", "127.0.0.1"),
                *("--dir", str(self._folder), "--save", "", "--appendonly", "yes"),
                *("--appendfsync", "always", "--loglevel", "warning", *self._options),
            ],
            stdout=subprocess.DEVNULL,
        )
        _until(lambda: _listens(self.port), "Valkey did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Replicated(NamedTuple):
    """A cluster in which replicas take the place of masters that have died."""

    environment: Environment
    nodes: list[Node]

    def at(self, address: str) -> Node:
        """The node that is called so in the cluster."""
        port = int(address.rpartition(":")[2])
        return next(node for node in self.nodes if node.port == port)

    async def whole(self) -> None:
        """Wait until each master has its replicas, and they have all that it has."""
        replicas = len(self.nodes) // MASTERS - 1

        async def is_whole() -> bool:
            return await self._replicas() == [replicas] * MASTERS

        await eventually(is_whole, "the cluster did not become whole")

    async def _replicas(self) -> list[int]:
        """How many replicas follow each master."""
        found: list[int] = []
        for node in self.nodes:
            async with connected(node) as client:
                told: Any = await client.execute_command("INFO", "replication")
            if told["role"] == "master":
                states = [told[f"slave{n}"]["state"] for n in range(told["connected_slaves"])]
                found.append(states.count("online"))
        return found


def minio_binary() -> str | None:
    """The server's program, where it is installed."""
    home = Path(os.environ.get("GOPATH") or Path.home() / "go")
    found = home / "bin" / "minio"
    return shutil.which("minio") or (str(found) if found.exists() else None)


@contextmanager
def embedded() -> Generator[Environment]:
    """Nothing but what ``up`` brings."""
    yield {}


@contextmanager
def outside(minio: str) -> Generator[Environment]:
    """One server for the log and one for the photos; ``minio`` is the program of the latter."""
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        port, at = _valkey(stack, folder / "valkey").port, _free_port()
        keys = {f"MINIO_ROOT_{each}": secrets.token_hex(16) for each in ("USER", "PASSWORD")}
        command = [
            minio,
            "server",
            "--quiet",
            "--address",
            f"127.0.0.1:{at}",
            str(folder / "minio"),
        ]
        stack.enter_context(_process(command, os.environ | keys | {"HOME": name}))
        _until(lambda: _answers(f"http://127.0.0.1:{at}/minio/health/ready"), "MinIO did not start")
        yield {
            "PHOTOLOG_REDIS_URL": f"redis://127.0.0.1:{port}",
            "PHOTOLOG_S3_ENDPOINT": f"http://127.0.0.1:{at}",
            "PHOTOLOG_S3_ACCESS_KEY": keys["MINIO_ROOT_USER"],
            "PHOTOLOG_S3_SECRET_KEY": keys["MINIO_ROOT_PASSWORD"],
        }


@contextmanager
def cluster() -> Generator[Environment]:
    """Three masters, each with a third of the slots."""
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as name, ExitStack() as stack:
        nodes = [_valkey(stack, Path(name, f"{number}"), *CLUSTERED) for number in range(MASTERS)]
        asyncio.run(_form(nodes))
        yield _named(nodes)


@contextmanager
def replicated(replicas: int) -> Generator[Replicated]:
    """Three masters, each with a third of the slots and with so many replicas."""
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as name, ExitStack() as stack:
        nodes = [
            _valkey(stack, Path(name, f"{number}"), *CLUSTERED, *REPLICATED)
            for number in range(MASTERS * (1 + replicas))
        ]
        formed = Replicated(_named(nodes[:MASTERS]), nodes)
        asyncio.run(_form(nodes))
        asyncio.run(formed.whole())
        yield formed


@asynccontextmanager
async def connected(node: Node) -> AsyncGenerator[Client]:
    client = connect(f"redis://127.0.0.1:{node.port}")
    try:
        yield client
    finally:
        await client.aclose()


def _named(nodes: list[Node]) -> Environment:
    addresses = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    return {"PHOTOLOG_REDIS_URL": f"redis+cluster://{addresses}"}


async def _form(servers: list[Node]) -> None:
    """Make one cluster of the nodes, masters first, and wait until each says that it is well."""
    async with AsyncExitStack() as stack:
        nodes: list[Any] = [await stack.enter_async_context(connected(each)) for each in servers]
        for number, node in enumerate(nodes):
            await node.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(nodes[:MASTERS]):
            first, end = number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS
            await node.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
        for server in servers[1:]:
            await nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", server.port)
        for node in nodes:
            await eventually(partial(_knows, node, len(nodes)), "the cluster did not form")
        for number, node in enumerate(nodes[MASTERS:]):
            master = await nodes[number % MASTERS].execute_command("CLUSTER MYID")
            await node.execute_command("CLUSTER REPLICATE", master)


async def _knows(node: Any, count: int) -> bool:
    told = await node.execute_command("CLUSTER INFO")
    return told["cluster_state"] == "ok" and int(told["cluster_known_nodes"]) == count


def _valkey(stack: ExitStack, folder: Path, *options: str) -> Node:
    node = Node(folder, *options)
    node.start()
    stack.callback(node.kill)
    return node


@contextmanager
def _process(command: list[str], environment: Environment) -> Generator[None]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    """Return a free port below those that the system gives to whoever connects.

    A cluster's nodes also use the port 10,000 above.
    """
    while True:
        port = random.randrange(10_000, 20_000)  # noqa: S311 # no secret
        if not _listens(port) and not _listens(port + 10_000):
            return port


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    with suppress(URLError, OSError), urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 # ours
        return answer.status == HTTPStatus.OK
    return False


async def eventually(condition: Callable[[], Awaitable[bool]], trouble: str) -> None:
    """Wait for the condition; raises RuntimeError with ``trouble`` after ``READY_S``."""
    deadline = time.monotonic() + READY_S
    while not await condition():
        if time.monotonic() > deadline:
            raise RuntimeError(trouble)
        await asyncio.sleep(PAUSE_S)


def _until(condition: Callable[[], bool], trouble: str) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(trouble)
        time.sleep(PAUSE_S)
