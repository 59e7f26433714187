"""Both stores of blobs, as tests see them."""

from pathlib import Path
from typing import Protocol

from store.blobs.folder import FolderBlobs
from store.blobs.interface import Blobs
from store.blobs.local_copies import LocalCopies
from store.blobs.s3 import S3Blobs
from store.blobs.s3_bucket import Bucket
from store.blobs.s3_server import Server


class Keeper(Protocol):
    """``rounds`` of storing and deleting take about a second."""

    rounds: int

    async def blobs(self, owner: str = "writer") -> Blobs:
        """The store, for a process of that name."""
        ...

    async def everything(self) -> list[str]:
        """All that is kept, what is half written too."""
        ...


class FolderKeeper:
    rounds = 200

    def __init__(self, root: Path) -> None:
        self.root = root

    async def blobs(self, owner: str = "writer") -> Blobs:
        return FolderBlobs(self.root, owner)

    async def everything(self) -> list[str]:
        return files(self.root)


class S3Keeper:
    rounds = 20

    def __init__(self, server: Server, copies: Path) -> None:
        self.server = server
        self._copies = copies
        self._opened: list[S3Blobs] = []

    async def blobs(self, owner: str = "writer") -> S3Blobs:
        blobs = S3Blobs(self.server, owner, LocalCopies(self._copies, 1 << 30))
        self._opened.append(blobs)
        await blobs.prepare()
        return blobs

    async def everything(self) -> list[str]:
        return inside(self.server)

    def close(self) -> None:
        for blobs in self._opened:
            blobs.close()


class _Look(Bucket):
    def uploads(self) -> list[str]:
        found = self._list_multipart_uploads(self.name).uploads
        return [f"{upload.object_name} (parts)" for upload in found]


def inside(server: Server) -> list[str]:
    """The keys in the bucket, and those of the multipart uploads that are under way."""
    look = _Look(server)
    try:
        return [blob.key for blob in look.blobs("")] + look.uploads()
    finally:
        look.close()


def files(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


async def content(blobs: Blobs, key: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(key, start, length)])
