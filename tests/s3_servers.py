"""Start and stop S3 servers for tests.

The tests run on ``VersityServer``, which is maintained. ``MinioServer`` is an extra for the tests
of the stores' contract, on machines where its program is on the path: it gets no patches any more,
and many still run it.
"""

import os
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import pytest
import urllib3
from minio import Minio
from minio.error import S3Error

from ops.bench.servers import GET_S3
from tests.certificates import Certified
from tests.ports import free_port
from tests.servers import unavailable

ACCESS_KEY = "photolog"
SECRET_KEY = "photolog-secret"
REGION = "us-east-1"

START_S = 30.0

_GO = "/usr/local/go/bin"


def program(name: str) -> str | None:
    """Find a program on the path, or where Go installs programs."""
    places = [os.environ.get("PATH", os.defpath)]
    if go := shutil.which("go", path=f"{places[0]}:{_GO}"):
        asked = subprocess.run([go, "env", "GOPATH"], capture_output=True, text=True)
        places.append(f"{asked.stdout.strip()}/bin")
    return shutil.which(name, path=":".join(places))


class S3Server(ABC):
    """A server on a port of this machine, over a folder, that is killed when the block ends.

    It uses TLS if ``certified``.
    """

    def __init__(self, folder: Path, certified: Certified | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"{'https' if certified else 'http'}://127.0.0.1:{self.port}"
        self.certified = certified

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

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that starts the server; skip or fail the test if there is none."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return the variables that name its folder and its keys."""

    def start(self) -> None:
        """Start the server, and wait until it answers; its data is there again."""
        self._process = subprocess.Popen(
            self.command(),
            env={**os.environ, "HOME": str(self.folder), **self.environment()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        give_up = time.monotonic() + START_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > give_up:
                pytest.fail("the S3 server did not start")
            time.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _is_ready(self) -> bool:
        """Return whether the server has loaded its users, so that it can reject an unknown one."""
        asked = Minio(
            endpoint=f"127.0.0.1:{self.port}",
            access_key="nobody",
            secret_key=SECRET_KEY,
            secure=self.certified is not None,
            region=REGION,
            http_client=urllib3.PoolManager(
                timeout=1.0,
                retries=False,
                ca_certs=self.certified and str(self.certified.authority),
            ),
        )
        try:
            asked.list_buckets()
        except urllib3.exceptions.HTTPError:
            return False
        except S3Error as error:
            return error.code == "InvalidAccessKeyId"
        return True


class VersityServer(S3Server):
    """The Versity S3 Gateway: buckets are folders, and metadata extended attributes."""

    def command(self) -> list[str]:
        data, users = self.folder / "data", self.folder / "users"
        for each in (data, users):
            each.mkdir(exist_ok=True)
        command = [
            *(self._program(), "--port", f"127.0.0.1:{self.port}", "--region", REGION),
            *("--quiet", "--keep-alive", "--iam-dir", str(users)),
        ]
        if self.certified is not None:
            certified = self.certified
            command += ["--cert", str(certified.certificate), "--key", str(certified.key)]
        return [*command, "posix", str(data)]

    def environment(self) -> dict[str, str]:
        return {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}

    def add_guest(self, bucket: str, action: str) -> str:
        """Create a user who may only do this action in the bucket; return its name."""
        name = f"guest-of-{bucket}"
        subprocess.run(
            [
                *(self._program(), "admin", "--endpoint-url", self.url),
                *("--access", ACCESS_KEY, "--secret", SECRET_KEY),
                *("create-user", "--access", name, "--secret", SECRET_KEY, "--role", "user"),
            ],
            check=True,
            capture_output=True,
        )
        places = [f"arn:aws:s3:::{bucket}"] if action == "s3:ListBucket" else []
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": [name]},
            "Action": [action],
            "Resource": places or [f"arn:aws:s3:::{bucket}/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        Minio(
            endpoint=f"127.0.0.1:{self.port}",
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            secure=False,
            region=REGION,
        ).set_bucket_policy(bucket, msgspec.json.encode(policy).decode())
        return name

    def _program(self) -> str:
        found = program("versitygw")
        if found is None:
            unavailable(GET_S3)
            raise AssertionError
        return found


class MinioServer(S3Server):
    """The last release of MinIO's community server."""

    def command(self) -> list[str]:
        found = shutil.which("minio")
        if found is None:
            pytest.skip("no minio on the path")
        return [
            *(found, "server", "--quiet", "--address", f"127.0.0.1:{self.port}"),
            *("--certs-dir", str(self.folder / ".certs"), str(self.folder)),
        ]

    def environment(self) -> dict[str, str]:
        return {
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }


S3_SERVERS = ("s3", *(("minio",) if shutil.which("minio") else ()))
"""The fixtures of the servers that the contract of the stores is tested on."""
