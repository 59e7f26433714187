"""Servers that tests start, take away and give back."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import urllib3
from minio import Minio
from minio.error import S3Error

from ops.process.embedded_valkey import valkey_binary
from tests.certificates import Certified
from tests.ports import free_port

LONG = bool(os.environ.get("LONG_TESTS"))
"""Whether tests that draw samples try all that there is, or many times as much."""

DEADLINE_S = 10.0
MINIO_DEADLINE_S = 30.0


def unavailable(what: str) -> None:
    """A missing service is a failure in CI and a skip, saying so, elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


_running: dict[Path, "subprocess.Popen[bytes]"] = {}


def process_of(folder: Path) -> "subprocess.Popen[bytes]":
    """The server that runs in ``folder``."""
    return _running[folder]


def url_in(folder: Path) -> str:
    """That of the server in ``folder``, whether it runs or not."""
    return f"unix://{folder}/own.sock"


DEBIAN_REDIS = "/usr/bin/redis-server"
"""The oldest that we support."""


@contextmanager
def valkey(folder: Path, *options: str, binary: str | None = None) -> Generator[str]:
    """A server that keeps what it is told in ``folder``; there in the block, killed at its end.

    The bundled one, unless ``binary`` says another; later ``options`` win over earlier ones.
    """
    path = folder / "own.sock"
    path.unlink(missing_ok=True)
    server = subprocess.Popen(
        [
            *(binary or str(valkey_binary()), "--port", "0", "--unixsocket", str(path)),
            *("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always"),
            *options,
        ],
        stdout=subprocess.DEVNULL,
    )
    _running[folder] = server
    try:
        give_up = time.monotonic() + DEADLINE_S
        while not _answers(path):
            if server.poll() is not None or time.monotonic() > give_up:
                pytest.fail("the server did not start")
            time.sleep(0.01)
        yield url_in(folder)
    finally:
        if _running.get(folder) is server:
            del _running[folder]
        server.kill()
        server.wait()


def _answers(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(7) in (b"+PONG\r\n", b"-NOAUTH")
    return False


ACCESS_KEY = "photolog"
SECRET_KEY = "photolog-secret"

GET_MINIO = "no minio on this machine: go install github.com/minio/minio@latest"

_GO = "/usr/local/go/bin"


def minio_binary() -> str | None:
    """Where MinIO is: on the path, or where Go installs programs."""
    places = [os.environ.get("PATH", os.defpath)]
    if go := shutil.which("go", path=f"{places[0]}:{_GO}"):
        asked = subprocess.run([go, "env", "GOPATH"], capture_output=True, text=True)
        places.append(f"{asked.stdout.strip()}/bin")
    return shutil.which("minio", path=":".join(places))


class MinioServer:
    """MinIO on a port of this machine, over a folder; there in the block, killed at its end.

    With TLS where it is ``certified``.
    """

    def __init__(
        self, folder: Path, certified: Certified | None = None, **environment: str
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"{'https' if certified else 'http'}://127.0.0.1:{self.port}"
        self._certified = certified
        self._environment = {
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            **environment,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Until it answers; what was stored before is there again."""
        binary = minio_binary()
        if binary is None:
            unavailable(GET_MINIO)
            return
        self._process = subprocess.Popen(
            [
                *(binary, "server", "--quiet", "--address", f"127.0.0.1:{self.port}"),
                *("--certs-dir", str(self._certificates), str(self.folder)),
            ],
            env={**os.environ, "HOME": str(self.folder), **self._environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        give_up = time.monotonic() + MINIO_DEADLINE_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > give_up:
                pytest.fail("MinIO did not start")
            time.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def _certificates(self) -> Path:
        if self._certified is None:
            return self.folder / ".certs"
        return self._certified.certificate.parent

    def _is_ready(self) -> bool:
        """Whether it knows its users, and so that this is none of them."""
        asked = Minio(
            endpoint=f"127.0.0.1:{self.port}",
            access_key="nobody",
            secret_key=SECRET_KEY,
            secure=self._certified is not None,
            region="us-east-1",
            http_client=urllib3.PoolManager(
                timeout=1.0,
                retries=False,
                ca_certs=self._certified and str(self._certified.authority),
            ),
        )
        try:
            asked.list_buckets()
        except urllib3.exceptions.HTTPError:
            return False
        except S3Error as error:
            return error.code == "InvalidAccessKeyId"
        return True
