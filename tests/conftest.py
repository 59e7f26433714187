"""Fixtures: real servers, one of each per test process, and a separate log for each test."""

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest

from domain.photo.events import Context
from ops.process.embedded_valkey import valkey_binary
from store.blobs.s3_server import Server
from store.log.log import Log
from store.redis.connection import Client, connect
from tests.s3_servers import ACCESS_KEY, SECRET_KEY, MinioServer, S3Server, VersityServer
from tests.servers import unavailable

# Tests start hundreds of Python processes, and compiling what they import would take more than half
# of their CPU time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A test never asserts a time: the machine may be busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

PHOTOS = Path(__file__).parents[2] / "shared" / "photos"

CONTEXT = Context(
    now=datetime(2026, 11, 23, 10, tzinfo=UTC),
    source="test",
    actor="client:alice",
    trace_id="0af7651916cd43dd8448eb211c80319c",
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from examining the tests themselves, now and while they run.

    There are nine thousand in each process: it took a sixth of the time of those that do not wait.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


LONGEST_FIRST = ("system", "ops", "gateway", "handlers", "store", "projections", "domain")
"""The folders of tests, from those that start whole systems to the one without any I/O."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long tests first, so that no process waits at the end for a long test of another."""
    turns = {folder: turn for turn, folder in enumerate(LONGEST_FIRST, 1)}
    tests = Path(__file__).parent
    items.sort(key=lambda item: turns.get(item.path.relative_to(tests).parts[0], 0))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run tests on asyncio, as uvicorn, redis-py and apsw need."""
    return "asyncio"


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photos, which is not part of the repository."""
    if not PHOTOS.is_dir():
        pytest.skip(f"no real photos at {PHOTOS}")
    return PHOTOS


@pytest.fixture(scope="session")
def server_folder() -> Generator[Path]:
    # Not tmp_path: the path of a Unix socket may have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="photolog-") as folder:
        yield Path(folder)


@pytest.fixture
def own_folder(server_folder: Path, prefix: str) -> Path:
    """A folder with a short path for a server of one test, see ``tests.servers``."""
    folder = server_folder / prefix
    folder.mkdir()
    return folder


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _serve(binary: str, folder: Path, name: str) -> Generator[str]:
    path = folder / f"{name}.sock"
    server = subprocess.Popen(
        [
            *(binary, "--port", "0", "--unixsocket", str(path), "--dir", str(folder)),
            *("--save", "", "--loglevel", "warning", "--maxmemory-policy", "noeviction"),
            *("--appendonly", "yes", "--appendfsync", "no", "--appenddirname", name),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while not _listens(path):  # it has a name before it listens
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{binary} did not start")
            time.sleep(0.01)
        yield f"unix://{path}"
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="session")
def valkey_url(server_folder: Path) -> Generator[str]:
    """The bundled server."""
    yield from _serve(str(valkey_binary()), server_folder, "valkey")


@pytest.fixture(scope="session")
def debian_redis_url(server_folder: Path) -> Generator[str]:
    """Debian's server, the oldest supported one."""
    binary = shutil.which("redis-server")
    if binary is None:
        unavailable("no redis-server on this machine: apt-get install redis-server")
        return
    yield from _serve(binary, server_folder, "redis")


@pytest.fixture(params=["valkey", "redis"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """Both servers in turn."""
    name = "valkey_url" if request.param == "valkey" else "debian_redis_url"
    return request.getfixturevalue(name)


@pytest.fixture
def prefix() -> str:
    """The prefix of this test's keys."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def redis(valkey_url: str) -> AsyncGenerator[Client]:
    client = connect(valkey_url)
    yield client
    await client.aclose()


@pytest.fixture
def partitions() -> int:
    """The number of partitions of the test's log; parametrize a test to change it."""
    return 1


@pytest.fixture
async def log(redis: Client, prefix: str, partitions: int) -> Log:
    """An empty log on the bundled server."""
    return await Log.open(redis, prefix=prefix, partitions=partitions)


one_and_three = pytest.mark.parametrize("partitions", [1, 3])
"""For tests whose result must not depend on the number of partitions."""


def home(log: Log, client_id: str = "alice") -> int:
    """Return the partition of the client's photos: the last of three for alice."""
    return log.partition_of(client_id)


@pytest.fixture(scope="session")
def s3() -> Generator[VersityServer]:
    """An S3 server, for tests that leave it running."""
    with (
        tempfile.TemporaryDirectory(prefix="photolog-") as folder,
        VersityServer(Path(folder)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def minio() -> Generator[MinioServer]:
    """The last MinIO, see ``S3_SERVERS``."""
    with (
        tempfile.TemporaryDirectory(prefix="photolog-") as folder,
        MinioServer(Path(folder)) as server,
    ):
        yield server


@pytest.fixture
def bucket(s3: S3Server, prefix: str) -> Server:
    """A bucket for one test, not yet created."""
    return bucket_of(s3.url, prefix)


def bucket_of(endpoint: str, name: str) -> Server:
    """A bucket with short time-outs, so that a test can wait for them."""
    return Server(
        endpoint=endpoint,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        bucket=name,
        connect_timeout_s=1.0,
        timeout_s=2.0,
        retries=1,
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 256 KB."""
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)], capture_output=True
    )
    if mounted.returncode != 0:
        unavailable("mounting a small file system needs root")
    yield mount
    # Lazy: a failing test may have files open there, and the disk must still be removed.
    subprocess.run(["umount", "--lazy", str(mount)], check=True)
