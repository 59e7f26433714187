"""The servers that a measurement starts for itself, on loopback and in a temporary folder.

| where | log | photos |
|---|---|---|
| embedded | the Valkey of ``up`` | a folder |
| outside | a Valkey at a port | MinIO |
| cluster | three masters of Valkey, 16 partitions | a folder |
"""

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import URLError

from ops.embedded import valkey_binary
from store.client import connect

MASTERS = 3
SLOTS = 16_384
CLUSTERED = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
READY_S = 30.0
PAUSE_S = 0.02

Environment = dict[str, str]


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
        port, at = _valkey(stack, folder / "valkey"), _free_port()
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
        ports = [_valkey(stack, Path(name, f"{number}"), *CLUSTERED) for number in range(MASTERS)]
        asyncio.run(_form(ports))
        nodes = ",".join(f"127.0.0.1:{port}" for port in ports)
        yield {"PHOTOLOG_REDIS_URL": f"redis+cluster://{nodes}"}


async def _form(ports: list[int]) -> None:
    """Make one cluster of the nodes, and wait until each of them says that it is well."""
    nodes: list[Any] = [connect(f"redis://127.0.0.1:{port}") for port in ports]
    for number, node in enumerate(nodes):
        first, end = number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS
        await node.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        await node.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
    for port in ports[1:]:
        await nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", port)
    deadline = time.monotonic() + READY_S
    for node in nodes:
        while (await node.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":
            if time.monotonic() > deadline:
                raise RuntimeError("the cluster did not form")
            await asyncio.sleep(PAUSE_S)
        await node.aclose()


def _valkey(stack: ExitStack, folder: Path, *options: str) -> int:
    """The port of a server whose appends are on the disk before they are answered."""
    folder.mkdir()
    port = _free_port()
    command = [
        *(str(valkey_binary()), "--port", f"{port}", "--bind", "127.0.0.1", "--dir", str(folder)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
        *("--loglevel", "warning", *options),
    ]
    stack.enter_context(_process(command, dict(os.environ)))
    _until(lambda: _listens(port), "Valkey did not start")
    return port


@contextmanager
def _process(command: list[str], environment: Environment) -> Generator[None]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    """A cluster's nodes also use the port 10,000 above, so that has to exist."""
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
        if port < 55_000:
            return port


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    with suppress(URLError, OSError), urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 # ours
        return answer.status == HTTPStatus.OK
    return False


def _until(condition: Callable[[], bool], trouble: str) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(trouble)
        time.sleep(PAUSE_S)
