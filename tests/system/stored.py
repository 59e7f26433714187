"""Read the files of a photo store directly: a folder by its paths, a bucket by S3 calls."""

import os
from pathlib import Path
from typing import Protocol

import urllib3
from minio import Minio
from minio.error import S3Error

from store.blobs.s3_server import Server

TIMEOUT_S = 30.0


class Stored(Protocol):
    def keys(self) -> set[str]: ...

    def read(self, key: str) -> bytes | None:
        """Return the bytes, or None if nothing is stored under the key."""
        ...


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def keys(self) -> set[str]:
        paths = [Path(folder, name) for folder, _, names in os.walk(self.root) for name in names]
        return {path.relative_to(self.root).as_posix() for path in paths}

    def read(self, key: str) -> bytes | None:
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError:
            return None


class Bucket:
    """Uses the S3 client library directly, without the code under test."""

    def __init__(self, server: Server) -> None:
        self._name = server.bucket
        self._minio = Minio(
            endpoint=server.endpoint.removeprefix("http://"),
            access_key=server.access_key,
            secret_key=server.secret_key,
            secure=False,
            region=server.region,
            http_client=urllib3.PoolManager(timeout=TIMEOUT_S),
        )

    def keys(self) -> set[str]:
        return {f"{each.object_name}" for each in self._minio.list_objects(self._name, None, True)}

    def read(self, key: str) -> bytes | None:
        try:
            answer = self._minio.get_object(self._name, key)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise
            return None
        try:
            return answer.data
        finally:
            answer.close()
            answer.release_conn()
