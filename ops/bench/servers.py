"""Start servers for a measurement, on loopback and in a temporary folder.

| where | log | photos |
|---|---|---|
| embedded | the Valkey of ``up`` | a folder |
| outside | a Valkey at a port | the Versity S3 Gateway |
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
"""How long a master of ``replicated`` may not answer before a replica takes its place."""

REPLICATED = (
    *("--cluster-node-timeout", f"{NODE_TIMEOUT_MS}", "--cluster-replica-validity-factor", "0"),
    *("--repl-diskless-sync-delay", "0"),
)
READY_S = 30.0
PAUSE_S = 0.02

Environment = dict[str, str]


class Node:
    """A Valkey on its own port; each append is on the disk before it is answered."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = _free_port()
        self._folder = folder
        self._options = options
        folder.mkdir()

    def start(self) -> None:
        """Start the server with the data on its disk."""
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
        """Return the node with this address in the cluster."""
        port = int(address.rpartition(":")[2])
        return next(node for node in self.nodes if node.port == port)

    async def wait_until_complete(self) -> None:
        """Wait until each master has its replicas, and they are in sync with it."""
        replicas = len(self.nodes) // MASTERS - 1

        async def is_complete() -> bool:
            return await self._replicas() == [replicas] * MASTERS

        await eventually(is_complete, "the replicas did not synchronize with their masters")

    async def _replicas(self) -> list[int]:
        """Return the number of replicas in sync with each master."""
        found: list[int] = []
        for node in self.nodes:
            async with connected(node) as client:
                info: Any = await client.execute_command("INFO", "replication")
            if info["role"] == "master":
                states = [info[f"slave{n}"]["state"] for n in range(info["connected_slaves"])]
                found.append(states.count("online"))
        return found


GET_S3 = "no versitygw: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0"


def s3_binary() -> str | None:
    """Return the path of the program ``versitygw``, or None if it is not installed."""
    home = Path(os.environ.get("GOPATH") or Path.home() / "go")
    found = home / "bin" / "versitygw"
    return shutil.which("versitygw") or (str(found) if found.exists() else None)


@contextmanager
def embedded() -> Generator[Environment]:
    """Use the servers of ``up`` itself."""
    yield {}


@contextmanager
def outside(versitygw: str) -> Generator[Environment]:
    """Start a Valkey for the log, and for the photos the S3 server with this program."""
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        port, at = _valkey(stack, folder / "valkey").port, _free_port()
        keys = {f"ROOT_{each}_KEY": secrets.token_hex(16) for each in ("ACCESS", "SECRET")}
        (folder / "photos").mkdir()
        command = [
            *(versitygw, "--port", f"127.0.0.1:{at}", "--health", "/health"),
            *("--quiet", "--keep-alive", "posix", str(folder / "photos")),
        ]
        stack.enter_context(_process(command, os.environ | keys))
        _until(lambda: _answers(f"http://127.0.0.1:{at}/health"), "the S3 server did not start")
        yield {
            "PHOTOLOG_REDIS_URL": f"redis://127.0.0.1:{port}",
            "PHOTOLOG_S3_ENDPOINT": f"http://127.0.0.1:{at}",
            "PHOTOLOG_S3_ACCESS_KEY": keys["ROOT_ACCESS_KEY"],
            "PHOTOLOG_S3_SECRET_KEY": keys["ROOT_SECRET_KEY"],
        }


@contextmanager
def cluster() -> Generator[Environment]:
    """Start three masters, each with a third of the slots."""
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as name, ExitStack() as stack:
        nodes = [_valkey(stack, Path(name, f"{number}"), *CLUSTERED) for number in range(MASTERS)]
        asyncio.run(_form(nodes))
        yield _environment(nodes)


@contextmanager
def replicated(replicas: int) -> Generator[Replicated]:
    """Start three masters, each with a third of the slots and with ``replicas`` replicas."""
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as name, ExitStack() as stack:
        nodes = [
            _valkey(stack, Path(name, f"{number}"), *CLUSTERED, *REPLICATED)
            for number in range(MASTERS * (1 + replicas))
        ]
        formed = Replicated(_environment(nodes[:MASTERS]), nodes)
        asyncio.run(_form(nodes))
        asyncio.run(formed.wait_until_complete())
        yield formed


@asynccontextmanager
async def connected(node: Node) -> AsyncGenerator[Client]:
    client = connect(f"redis://127.0.0.1:{node.port}")
    try:
        yield client
    finally:
        await client.aclose()


def _environment(nodes: list[Node]) -> Environment:
    addresses = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    return {"PHOTOLOG_REDIS_URL": f"redis+cluster://{addresses}"}


async def _form(servers: list[Node]) -> None:
    """Make one cluster of the nodes, masters first, and wait until each reports it as ok."""
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
    info = await node.execute_command("CLUSTER INFO")
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == count


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
    """Return a free port below those that the system assigns to outgoing connections.

    Cluster nodes also use the port 10,000 above.
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
